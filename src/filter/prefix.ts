/** The range of strings that begin with a text, in the order of code points: that of MongoDB, SQLite and PostgreSQL's "C". */

const LAST = 0x10ffff;

/** The first string behind all that begin with `text`; `undefined` when there is none. */
export function successor(text: string): string | undefined {
  for (let end = text.length; end > 0;) {
    const isPair = end > 1 && text.codePointAt(end - 2)! > 0xffff;
    const begin = end - (isPair ? 2 : 1);
    const point = text.codePointAt(begin)!;
    // Surrogates are no characters.
    if (point !== LAST) return text.slice(0, begin) + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1);
    end = begin;
  }
  return undefined;
}
