/** Records of a host as providers get them. */
import { UnsupportedError, ValidationError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import type { StoredVector, VectorProvider, VectorSchema } from '../provider.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';
import { encodeMetadata } from './metadata.js';
import type { VectorSlab } from './slab.js';
import { checkKeys, checkVector, checkVectorId, checkVectorText } from './values.js';

export interface EncodedVector {
  readonly record: StoredVector;
  /** About what it takes in a request. */
  readonly bytes: number;
}

/** What a provider keeps of a record, and where its vector is kept until then. */
export interface RecordEncoding {
  readonly maxMetadataBytes: number;
  readonly vectorFault: VectorProvider['vectorFault'];
  readonly slab: VectorSlab;
}

/** @throws `VALIDATION` naming the key below `at`; `UNSUPPORTED` for a sparse vector. */
export function encodeRecord(
  input: unknown,
  schema: VectorSchema,
  { maxMetadataBytes, vectorFault, slab }: RecordEncoding,
  at: string,
): EncodedVector {
  if (isPlainObject(input) && input['sparse'] !== undefined)
    throw new UnsupportedError(`${at}.sparse: sparse vectors are not kept by this provider`);
  const given = checkKeys(input, at, ['id', 'vector', 'metadata', 'text', 'sparse']);
  const id = checkVectorId(given['id'], `${at}.id`);
  const vector = checkVectorOf(schema, given['vector'], `${at}.vector`, vectorFault, slab);
  const { metadata, bytes } = encodeMetadata(given['metadata'], schema.fields, maxMetadataBytes, `${at}.metadata`);
  const record: StoredVector = { id, vector, metadata };
  if (given['text'] === undefined) return { record, bytes: bytes + vector.byteLength };
  const maxBytes = schema.text === undefined ? LIMITS.textBytes : LIMITS.searchedTextBytes;
  const text = checkVectorText(given['text'], `${at}.text`, maxBytes);
  return { record: { ...record, text }, bytes: bytes + vector.byteLength + text.length };
}

/** As `encodeRecord`, for each of an array. */
export function encodeRecords(
  inputs: readonly unknown[],
  schema: VectorSchema,
  encoding: RecordEncoding,
): EncodedVector[] {
  return Array.from(inputs, (input, i) => encodeRecord(input, schema, encoding, `records[${i}]`));
}

/** A vector that a collection's provider can keep and look for. @throws `VALIDATION` */
export function checkVectorOf(
  schema: VectorSchema,
  vector: unknown,
  key: string,
  vectorFault: VectorProvider['vectorFault'],
  slab?: VectorSlab,
): Float32Array {
  const checked = checkVector(vector, schema.dimension, key, slab);
  const fault = vectorFault?.(schema, checked);
  if (fault === undefined) return checked;
  throw new ValidationError('VALIDATION', `${key}: the vector ${fault}`, { details: { key, reason: fault } });
}
