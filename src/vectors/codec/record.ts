/** Records of a host as providers get them. */
import { UnsupportedError, ValidationError } from '../../errors.js';
import type { StoredSparse, StoredVector, VectorProvider, VectorSchema } from '../provider.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';
import { encodeMetadata } from './metadata.js';
import type { VectorSlab } from './slab.js';
import { checkSparse } from './sparse.js';
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
  readonly recordFault: VectorProvider['recordFault'];
  readonly slab: VectorSlab;
}

/** @throws `VALIDATION` naming the key below `at`; `UNSUPPORTED` for a sparse vector where the collection has none. */
export function encodeRecord(
  input: unknown,
  schema: VectorSchema,
  encoding: RecordEncoding,
  at: string,
): EncodedVector {
  const encoded = encode(input, schema, encoding, at);
  const fault = encoding.recordFault?.(schema, encoded.record);
  if (fault === undefined) return encoded;
  throw new ValidationError('VALIDATION', `${at}: the record ${fault}`, { details: { key: at, reason: fault } });
}

function encode(
  input: unknown,
  schema: VectorSchema,
  { maxMetadataBytes, vectorFault, slab }: RecordEncoding,
  at: string,
): EncodedVector {
  const given = checkKeys(input, at, ['id', 'vector', 'metadata', 'text', 'sparse']);
  const id = checkVectorId(given['id'], `${at}.id`);
  const vector = checkVectorOf(schema, given['vector'], `${at}.vector`, vectorFault, slab);
  const { metadata, bytes } = encodeMetadata(given['metadata'], schema.fields, maxMetadataBytes, `${at}.metadata`);
  const sparse = checkSparseOf(schema, given['sparse'], `${at}.sparse`);
  const record: StoredVector = { id, vector, ...(sparse === undefined ? {} : { sparse }), metadata };
  const size = bytes + vector.byteLength + 2 * (sparse?.values.byteLength ?? 0);
  if (given['text'] === undefined) return { record, bytes: size };
  const maxBytes = schema.text === undefined ? LIMITS.textBytes : LIMITS.searchedTextBytes;
  const text = checkVectorText(given['text'], `${at}.text`, maxBytes);
  return { record: { ...record, text }, bytes: size + text.length };
}

/** As `encodeRecord`, for each of an array. */
export function encodeRecords(
  inputs: readonly unknown[],
  schema: VectorSchema,
  encoding: RecordEncoding,
): EncodedVector[] {
  return Array.from(inputs, (input, i) => encodeRecord(input, schema, encoding, `records[${i}]`));
}

/** A vector that a collection's provider can keep and look for; empty among sparse ones alone. @throws `VALIDATION` */
export function checkVectorOf(
  schema: VectorSchema,
  vector: unknown,
  key: string,
  vectorFault: VectorProvider['vectorFault'],
  slab?: VectorSlab,
): Float32Array {
  if (schema.dimension === 0) return checkNoVector(vector, key);
  const checked = checkVector(vector, schema.dimension, key, slab);
  const fault = vectorFault?.(schema, checked);
  if (fault === undefined) return checked;
  throw new ValidationError('VALIDATION', `${key}: the vector ${fault}`, { details: { key, reason: fault } });
}

/** What was meant for a collection that another process has made anew shows by its dimension. */
function checkNoVector(vector: unknown, key: string): Float32Array {
  if (vector !== undefined)
    throw new ValidationError('VALIDATION', `${key}: expected none, the collection has sparse vectors alone`, {
      details: { key, dimension: 0 },
    });
  return new Float32Array(0);
}

/**
 * A sparse vector, which among sparse ones alone must be there.
 * @throws `VALIDATION`; `UNSUPPORTED` for one where the collection has none.
 */
export function checkSparseOf(schema: VectorSchema, sparse: unknown, key: string): StoredSparse | undefined {
  if (sparse === undefined && schema.dimension > 0) return undefined;
  if (schema.sparse === undefined)
    throw new UnsupportedError(`${key}: the collection ${schema.name} was made without sparse vectors`);
  return checkSparse(sparse, key);
}
