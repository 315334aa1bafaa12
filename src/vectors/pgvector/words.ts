/**
 * The words of texts that are searched. They are made here, so that they are the same as everywhere; a language other than
 * `simple` stems them on the server.
 */
import { searchedWords } from '../codec/text.js';
import type { VectorSchema } from '../provider.js';

/** Words of a `tsvector` have positions up to this. */
const MAX_POSITION = 16_383;

/** What is bound for a text; `wordsExpression` makes a `tsvector` of it. */
export function boundWords({ text: declared }: VectorSchema, text: string | undefined): string | null {
  if (text === undefined) return null;
  const words = searchedWords(text);
  return declared?.language === 'simple' ? vectorOf(words) : words.join(' ');
}

export function wordsExpression({ text }: VectorSchema, bound: string): string {
  return text?.language === 'simple' ? `${bound}::tsvector` : `to_tsvector('${text!.language}', ${bound})`;
}

/** The text of a `tsvector`: `'cat':2 'the':1,5`. */
function vectorOf(words: readonly string[]): string {
  const positions = new Map<string, number[]>();
  for (const [i, word] of words.entries()) {
    const known = positions.get(word);
    const position = Math.min(i + 1, MAX_POSITION);
    if (known === undefined) positions.set(word, [position]);
    else known.push(position);
  }
  return [...positions].map(([word, at]) => `${quoted(word)}:${at.join(',')}`).join(' ');
}

/** Letters, marks and digits: nothing in them needs an escape. */
export function quoted(word: string): string {
  return `'${word}'`;
}
