/** Records of a host as providers get them. */
import { UnsupportedError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import type { StoredVector, VectorSchema } from '../provider.js';
import { encodeMetadata } from './metadata.js';
import { checkKeys, checkVector, checkVectorId, checkVectorText } from './values.js';

export interface EncodedVector {
  readonly record: StoredVector;
  /** About what it takes in a request. */
  readonly bytes: number;
}

/** @throws `VALIDATION` naming the key below `at`; `UNSUPPORTED` for a sparse vector. */
export function encodeRecord(
  input: unknown,
  schema: VectorSchema,
  maxMetadataBytes: number,
  at: string,
): EncodedVector {
  if (isPlainObject(input) && input['sparse'] !== undefined)
    throw new UnsupportedError(`${at}.sparse: sparse vectors are not kept by this provider`);
  const given = checkKeys(input, at, ['id', 'vector', 'metadata', 'text', 'sparse']);
  const id = checkVectorId(given['id'], `${at}.id`);
  const vector = checkVector(given['vector'], schema.dimension, `${at}.vector`);
  const { metadata, bytes } = encodeMetadata(given['metadata'], schema.fields, maxMetadataBytes, `${at}.metadata`);
  const record: StoredVector = { id, vector, metadata };
  if (given['text'] === undefined) return { record, bytes: bytes + vector.byteLength };
  const text = checkVectorText(given['text'], `${at}.text`);
  return { record: { ...record, text }, bytes: bytes + vector.byteLength + text.length };
}

/** As `encodeRecord`, for each of an array. */
export function encodeRecords(
  inputs: readonly unknown[],
  schema: VectorSchema,
  maxMetadataBytes: number,
): EncodedVector[] {
  return Array.from(inputs, (input, i) => encodeRecord(input, schema, maxMetadataBytes, `records[${i}]`));
}
