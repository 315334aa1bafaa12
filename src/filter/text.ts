import { valueAt } from './json.js';

/** Grows when `tokenize` makes other words of a text: the words of existing records are then made anew. */
export const WORD_RULES = 1;

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

/** The distinct words that `$text` looks for. */
export function tokenize(text: string): string[] {
  return [...new Set(wordsOf(text))];
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
