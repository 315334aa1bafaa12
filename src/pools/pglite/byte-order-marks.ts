/** PGlite decodes each text by itself, and takes U+FEFF at its beginning for a byte order mark: here it is put back. */

const MARK = Buffer.from('\ufeff');
const DATA_ROW = 'D'.charCodeAt(0);

type Fields = (string | null)[];

/**
 * @param data the engine's answer as it is.
 * @param rows what PGlite made of its rows, in their order.
 */
export function restoreMarks(data: Uint8Array, rows: Iterable<Fields>): void {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (!bytes.includes(MARK)) return;
  const remaining = rows[Symbol.iterator]();
  // A letter, and a length that counts itself.
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt32BE(at + 1))
    if (bytes[at] === DATA_ROW) restoreRow(bytes, at + 5, remaining.next().value as Fields);
}

function restoreRow(bytes: Buffer, start: number, fields: Fields): void {
  let at = start + 2;
  for (let i = 0; i < fields.length; i++) {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) continue;
    if (length >= MARK.length && bytes.compare(MARK, 0, MARK.length, at, at + MARK.length) === 0)
      fields[i] = `\ufeff${fields[i]}`;
    at += length;
  }
}
