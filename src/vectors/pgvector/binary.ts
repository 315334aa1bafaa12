/**
 * The binary forms of pgvector's values, for servers that take them: a batch of vectors is written eight times as fast as
 * by text. Big-endian; a vector is int16 dimension, int16 0 and its float4 (vector_recv in pgvector's vector.c), an array
 * is int32 dimensions, int32 flags, int32 oid of the element, then int32 length and lower bound (array_recv).
 */
const VECTOR_HEADER = 4;
const ARRAY_HEADER = 20;

export function vectorBytes(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(VECTOR_HEADER + 4 * vector.length);
  writeVector(new DataView(bytes.buffer), 0, vector);
  return bytes;
}

/** @param oid of the type `vector`, which differs from database to database. */
export function vectorArrayBytes(vectors: readonly Float32Array[], oid: number): Uint8Array {
  const items = vectors.reduce((sum, { length }) => sum + 4 + VECTOR_HEADER + 4 * length, 0);
  const bytes = new Uint8Array(ARRAY_HEADER + items);
  const view = new DataView(bytes.buffer);
  for (const [i, header] of [1, 0, oid, vectors.length, 1].entries()) view.setInt32(4 * i, header);
  let at = ARRAY_HEADER;
  for (const vector of vectors) {
    view.setInt32(at, VECTOR_HEADER + 4 * vector.length);
    at = writeVector(view, at + 4, vector);
  }
  return bytes;
}

/** @returns where it ends. */
export function writeVector(view: DataView, at: number, vector: Float32Array): number {
  view.setInt16(at, vector.length);
  view.setInt16(at + 2, 0);
  for (let i = 0; i < vector.length; i++) view.setFloat32(at + VECTOR_HEADER + 4 * i, vector[i]!);
  return at + VECTOR_HEADER + 4 * vector.length;
}
