/** The words by which a text is found, the same on every provider that searches texts without stemming. */
import { wordsOf } from '../../filter/text.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';

/** In their order. */
export function searchedWords(text: string): string[] {
  return wordsOf(text).filter(isSearchedWord);
}

/** One that is too long for a server is not found anywhere. */
export function isSearchedWord(word: string): boolean {
  return Buffer.byteLength(word) <= LIMITS.wordBytes;
}
