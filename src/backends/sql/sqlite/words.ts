/** The words of a record as text, each between two spaces: words are letters and digits, so that none holds a space. */
export function wordsText(words: readonly string[]): string {
  return words.length === 0 ? '' : ` ${words.join(' ')} `;
}
