/** The value domain of vectors, the same for every provider: checked and copied before any I/O, flat when stored. */
import { invalid, ValidationError } from '../errors.js';
import { isDate, isPlainObject } from '../filter/json.js';
import type { FlatMetadata, MetadataLeaf, StoredVector, VectorFieldType, VectorSchema } from './provider.js';

export type MetadataValue =
  string | number | boolean | Date | readonly string[] | { readonly [key: string]: MetadataValue };
export type Metadata = { readonly [key: string]: MetadataValue };

/** A record as a host writes it. */
export interface VectorRecord<M = Metadata> {
  /** 1 to 512 bytes of UTF-8. */
  readonly id: string;
  /** As many finite numbers as the collection has dimensions; kept as float32. */
  readonly vector: readonly number[] | Float32Array;
  readonly metadata?: M;
  readonly text?: string;
}

/** Limits of a record, in bytes of UTF-8 unless said otherwise (`docs/vectors.md`). */
export const VECTOR_LIMITS = {
  idBytes: 512,
  namespaceBytes: 255,
  keyBytes: 128,
  depth: 8,
  leaves: 256,
  metadataBytes: 40_960,
  textBytes: 1_048_576,
  minNorm: 1e-15,
  maxNorm: 1e15,
} as const;

/** Checks and copies a record. @throws `VALIDATION` with the key, the value's type and what was expected. */
export function encodeVectorRecord(record: unknown, schema: VectorSchema, at = 'record'): StoredVector {
  if (!isPlainObject(record)) throw invalid(at, record, 'an object with id and vector');
  for (const key of Object.keys(record))
    if (!['id', 'vector', 'metadata', 'text'].includes(key))
      throw invalid(`${at}.${key}`, record[key], 'one of id, vector, metadata, text');
  const { text } = record;
  if (text !== undefined) checkText(text, `${at}.text`, VECTOR_LIMITS.textBytes);
  const encoded = {
    id: checkVectorId(record['id'], `${at}.id`),
    vector: encodeVector(record['vector'], schema.dimension, `${at}.vector`),
    metadata: encodeMetadata(record['metadata'], schema, `${at}.metadata`),
  };
  return text === undefined ? encoded : { ...encoded, text: text as string };
}

/** @throws `VALIDATION` for what cannot be the id of a vector. */
export function checkVectorId(id: unknown, at = 'id'): string {
  if (id === '') throw invalid(at, id, 'at least one character');
  return checkText(id, at, VECTOR_LIMITS.idBytes);
}

/** `''` is the default namespace. @throws `VALIDATION` */
export function checkNamespace(namespace: unknown): string {
  const text = checkText(namespace, 'namespace', VECTOR_LIMITS.namespaceBytes);
  if (/\p{Cc}/u.test(text)) throw invalid('namespace', namespace, 'text without control characters');
  return text;
}

function checkText(value: unknown, at: string, maxBytes: number): string {
  if (typeof value !== 'string') throw invalid(at, value, 'a string');
  if (!value.isWellFormed() || value.includes('\0')) throw invalid(at, value, 'well-formed text without U+0000');
  if (Buffer.byteLength(value) > maxBytes) throw invalid(at, value, `at most ${maxBytes} bytes of UTF-8`);
  return value;
}

/**
 * A copy as float32. Zero vectors and norms beyond 1e-15 to 1e15 are refused for every metric: services answer them with
 * NaN, with infinities, or leave them out of their index without a word.
 */
export function encodeVector(vector: unknown, dimension: number, at = 'vector'): Float32Array {
  const isList = Array.isArray(vector) || ArrayBuffer.isView(vector);
  if (!isList || vector instanceof DataView) throw invalid(at, vector, `an array of ${dimension} numbers`);
  const numbers = vector as unknown as ArrayLike<unknown>;
  if (numbers.length !== dimension)
    throw new ValidationError('VALIDATION', `${at}: expected ${dimension} numbers, got ${numbers.length}`, {
      details: { key: at, expected: dimension, actual: numbers.length },
    });
  const copy = new Float32Array(dimension);
  let squares = 0;
  for (let i = 0; i < dimension; i++) {
    const number = numbers[i];
    if (typeof number !== 'number') throw invalid(`${at}[${i}]`, number, 'a number');
    const rounded = Math.fround(number);
    if (!Number.isFinite(rounded)) throw invalid(`${at}[${i}]`, number, 'a number that is finite as float32');
    copy[i] = rounded;
    squares += rounded * rounded;
  }
  const norm = Math.sqrt(squares);
  if (norm < VECTOR_LIMITS.minNorm || norm > VECTOR_LIMITS.maxNorm)
    throw new ValidationError(
      'VALIDATION',
      `${at}: expected a length from 1e-15 to 1e15, got ${norm === 0 ? 'zero' : 'another'}`,
      {
        details: { key: at },
      },
    );
  return copy;
}

/** Flattens and checks metadata: `{ loc: { from: 1 } }` becomes the leaf `loc.from`. @throws `VALIDATION` */
export function encodeMetadata(metadata: unknown, schema: VectorSchema, at = 'metadata'): FlatMetadata {
  const flat: Record<string, MetadataLeaf> = Object.create(null) as Record<string, MetadataLeaf>;
  if (metadata === undefined) return flat;
  if (!isPlainObject(metadata)) throw invalid(at, metadata, 'a plain object');
  flatten(metadata, [], flat, schema, at);
  if (Object.keys(flat).length > VECTOR_LIMITS.leaves)
    throw invalid(at, metadata, `at most ${VECTOR_LIMITS.leaves} values`);
  if (Buffer.byteLength(JSON.stringify(flat)) > VECTOR_LIMITS.metadataBytes)
    throw invalid(at, metadata, `at most ${VECTOR_LIMITS.metadataBytes} bytes of JSON`);
  return flat;
}

function flatten(
  value: Record<string, unknown>,
  path: readonly string[],
  flat: Record<string, MetadataLeaf>,
  schema: VectorSchema,
  at: string,
): void {
  if (path.length >= VECTOR_LIMITS.depth) throw invalid(at, value, `at most ${VECTOR_LIMITS.depth} levels`);
  for (const [key, item] of Object.entries(value)) {
    const here = `${at}.${key}`;
    checkMetadataKey(key, path.length === 0, here);
    const full = [...path, key];
    if (isPlainObject(item)) {
      if (Object.keys(item).length === 0) throw invalid(here, item, 'an object that is not empty');
      flatten(item, full, flat, schema, here);
    } else {
      const name = full.join('.');
      flat[name] = encodeLeaf(item, schema.fields[name], here);
    }
  }
}

/** Keys that one service or another cannot hold are refused by all: else data could not move between them. */
function checkMetadataKey(key: string, isTop: boolean, at: string): void {
  const reserved = /^[$#]|^chroma:|\[\]$|[.\0]|^__proto__$/.test(key) || (isTop && key === 'qm');
  if (key === '' || reserved || !key.isWellFormed())
    throw invalid(
      at,
      key,
      'a key without dot or U+0000 that is not reserved ($..., #..., chroma:..., ...[], qm, __proto__)',
    );
  if (Buffer.byteLength(key) > VECTOR_LIMITS.keyBytes)
    throw invalid(at, key, `a key of at most ${VECTOR_LIMITS.keyBytes} bytes`);
}

function encodeLeaf(item: unknown, declared: VectorFieldType | undefined, at: string): MetadataLeaf {
  if (declared === 'date') {
    if (!isDate(item) || Number.isNaN(item.getTime())) throw invalid(at, item, 'a Date (as declared)');
    return item.getTime();
  }
  if (isDate(item)) throw invalid(at, item, "a number (use getTime(), or declare the field as 'date')");
  if (declared === 'string[]' ? !Array.isArray(item) : declared !== undefined && typeof item !== declared)
    throw invalid(at, item, `a ${declared} (as declared)`);
  switch (typeof item) {
    case 'string':
      return checkText(item, at, VECTOR_LIMITS.metadataBytes);
    case 'boolean':
      return item;
    case 'number':
      if (!Number.isFinite(item) || (Number.isInteger(item) && !Number.isSafeInteger(item)))
        throw invalid(at, item, 'a fraction or an integer within 2^53');
      return item === 0 ? 0 : item;
    default:
      if (!Array.isArray(item)) throw invalid(at, item, 'a string, number, boolean, array of strings or object');
      return Array.from(item, (element: unknown, i) => checkText(element, `${at}[${i}]`, VECTOR_LIMITS.metadataBytes));
  }
}

/** Stored metadata as a host gets them: nested again, with Dates where they are declared; a copy. */
export function decodeMetadata(flat: FlatMetadata, schema: VectorSchema): Record<string, unknown> {
  const metadata: Record<string, unknown> = {};
  for (const [name, leaf] of Object.entries(flat)) {
    const path = name.split('.');
    const last = path.pop()!;
    let parent = metadata;
    for (const segment of path) {
      if (!Object.hasOwn(parent, segment)) parent[segment] = {};
      parent = parent[segment] as Record<string, unknown>;
    }
    parent[last] =
      schema.fields[name] === 'date' ? new Date(leaf as number) : Array.isArray(leaf) ? [...(leaf as string[])] : leaf;
  }
  return metadata;
}
