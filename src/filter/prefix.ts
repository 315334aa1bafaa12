/** The range of strings that begin with a text, in the order of code points: that of MongoDB, SQLite and PostgreSQL's "C". */

/** The first string behind all that begin with `text`; `undefined` when there is none. */
export function successor(text: string): string | undefined {
  const points = Array.from(text, (character) => character.codePointAt(0)!);
  for (let point = points.pop(); point !== undefined; point = points.pop()) {
    if (point === 0x10ffff) continue;
    // Surrogates are no characters.
    return String.fromCodePoint(...points, point === 0xd7ff ? 0xe000 : point + 1);
  }
  return undefined;
}
