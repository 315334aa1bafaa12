import { createHash } from 'node:crypto';
import { valueAt } from './json.js';

/** Grows when `tokenize` makes other words of a text: the words of existing records are then made anew. */
export const WORD_RULES = 2;

/** Bytes of UTF-8 that a word may have in an index: an entry of PostgreSQL's ends at 2,712. */
const WORD_BYTES = 512;

/**
 * The words of a text in their order, equal on every backend because no backend's own text search is asked: lower-cased
 * runs of letters, marks and digits, without stemming.
 */
export function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFC')
      .toLowerCase()
      .match(/[\p{L}\p{M}\p{N}]+/gu) ?? []
  );
}

/** The distinct words that `$text` looks for, and that records are found by. */
export function tokenize(text: string): string[] {
  return [...new Set(wordsOf(text).map(indexedWord))];
}

/** What stands for a word that is too long for an index: letters and digits, as every word. */
function indexedWord(word: string): string {
  if (word.length * 3 <= WORD_BYTES || Buffer.byteLength(word) <= WORD_BYTES) return word;
  return createHash('sha256').update(word).digest('hex');
}

/** The words of a record: those of every declared text path that holds a string. */
export function recordWords(paths: readonly string[], value: object): string[] {
  const words = new Set<string>();
  for (const path of paths) {
    const text = valueAt(value, path.split('.'));
    if (typeof text === 'string') for (const word of tokenize(text)) words.add(word);
  }
  return [...words];
}
