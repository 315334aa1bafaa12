/**
 * The binary forms of pgvector's values, for servers that take them: a batch of vectors is written eight times as fast as
 * by text. Big-endian; a vector is int16 dimension, int16 0 and its float4 (vector_recv in pgvector's vector.c), an array
 * is int32 dimensions, int32 flags, int32 oid of the element, then int32 length and lower bound (array_recv).
 */
import { endianness } from 'node:os';

const VECTOR_HEADER = 4;
const ARRAY_HEADER = 20;
const SWAPPED = endianness() === 'LE';

export function vectorBytes(vector: Float32Array): Buffer {
  const bytes = Buffer.allocUnsafe(vectorLength(vector));
  writeVector(bytes, 0, vector);
  return bytes;
}

/** @param oid of the type `vector`, which differs from database to database. */
export function vectorArrayBytes(vectors: readonly Float32Array[], oid: number): Buffer {
  const items = vectors.reduce((sum, vector) => sum + 4 + vectorLength(vector), 0);
  const bytes = Buffer.allocUnsafe(ARRAY_HEADER + items);
  for (const [i, header] of [1, 0, oid, vectors.length, 1].entries()) bytes.writeInt32BE(header, 4 * i);
  let at = ARRAY_HEADER;
  for (const vector of vectors) at = writeVector(bytes, bytes.writeInt32BE(vectorLength(vector), at), vector);
  return bytes;
}

/** In bytes. */
export function vectorLength({ byteLength }: Float32Array): number {
  return VECTOR_HEADER + byteLength;
}

/** @returns where it ends. */
export function writeVector(bytes: Buffer, at: number, vector: Float32Array): number {
  bytes.writeInt16BE(vector.length, at);
  bytes.writeInt16BE(0, at + 2);
  const start = at + VECTOR_HEADER;
  const end = start + vector.byteLength;
  bytes.set(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength), start);
  // As a block it is copied and turned round four times as fast as number by number.
  if (SWAPPED) bytes.subarray(start, end).swap32();
  return end;
}
