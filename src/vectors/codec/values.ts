/** Single values, checked before any I/O: ids, names, namespaces, vectors, texts, the numbers of a search. */
import { types } from 'node:util';
import { invalid, unknownKey, ValidationError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';
import type { VectorSlab } from './slab.js';

const COLLECTION_NAME = /^[a-z][a-z0-9-]{0,44}$/;

/** @throws `VALIDATION` for what cannot name a collection on every provider. */
export function checkCollectionName(name: unknown, key = 'collection'): string {
  if (typeof name !== 'string' || !COLLECTION_NAME.test(name))
    throw invalid(key, name, 'a name of a-z, 0-9 and -, beginning with a letter, of at most 45 characters');
  return name;
}

/** @throws `VALIDATION` for what cannot be a namespace; the default one is empty. */
export function checkNamespace(namespace: unknown): string {
  if (namespace === undefined || namespace === '') return '';
  const text = checkWellFormed(namespace, 'namespace');
  if (/\p{Cc}/u.test(text)) throw invalid('namespace', namespace, 'text without control characters');
  if (text.trim() !== text) throw invalid('namespace', namespace, 'text without space at its ends');
  return checkBytes(text, 'namespace', LIMITS.namespaceBytes);
}

/** @throws `VALIDATION` for what cannot be a vector's id. */
export function checkVectorId(id: unknown, key = 'id'): string {
  const text = checkWellFormed(id, key);
  if (text === '') throw invalid(key, id, 'at least one character');
  return checkBytes(text, key, LIMITS.idBytes);
}

/** @throws `VALIDATION` for what is no list of ids. */
export function checkVectorIds(ids: unknown, key = 'ids'): string[] {
  if (!Array.isArray(ids)) throw invalid(key, ids, 'an array of ids');
  if (ids.length > LIMITS.ids) throw invalid(key, ids, `at most ${LIMITS.ids} ids`);
  return Array.from(ids as unknown[], (id, i) => checkVectorId(id, `${key}[${i}]`));
}

/** @throws `VALIDATION` for what is no text. */
export function checkVectorText(text: unknown, key = 'text', maxBytes: number = LIMITS.textBytes): string {
  return checkBytes(checkWellFormed(text, key), key, maxBytes);
}

/**
 * A vector as providers get it: a copy in float32.
 * @param slab where it is kept; absent: by itself.
 * @throws `VALIDATION` for another dimension, for what is not finite in float32, and for a length that is zero, or beyond
 * what servers can square.
 */
export function checkVector(vector: unknown, dimension: number, key = 'vector', slab?: VectorSlab): Float32Array {
  const isFloats = types.isFloat32Array(vector);
  if (!isFloats && !Array.isArray(vector)) throw invalid(key, vector, 'an array of numbers or a Float32Array');
  if (vector.length !== dimension)
    throw new ValidationError('VALIDATION', `${key}: expected ${dimension} numbers, got ${vector.length}`, {
      details: { key, dimension, actual: vector.length },
    });
  const copy = slab?.take(dimension) ?? new Float32Array(dimension);
  const squares = isFloats ? copyFloats(vector, copy) : copyNumbers(vector, copy);
  // Each number is finite if the sum of their squares is, which no sum of float32 is too large for.
  if (!Number.isFinite(squares)) throw numberFault(vector, key);
  checkNorm(Math.sqrt(squares), key);
  return copy;
}

/** @throws `VALIDATION` for the length of a vector that servers would compute with infinity or with zero. */
export function checkNorm(norm: number, key: string): void {
  if (norm < LIMITS.minNorm || norm > LIMITS.maxNorm)
    throw new ValidationError(
      'VALIDATION',
      `${key}: expected a vector of a length from ${LIMITS.minNorm} to ${LIMITS.maxNorm}, got one of ${norm}`,
      { details: { key, norm } },
    );
}

/** @returns the sum of the squares. */
function copyFloats(vector: Float32Array, copy: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < copy.length; i++) {
    // The sum is 0 for both zeros: not every service keeps the sign.
    const value = vector[i]! + 0;
    copy[i] = value;
    squares += value * value;
  }
  return squares;
}

/** As `copyFloats`, of values that may be anything: NaN for one that is no number. */
function copyNumbers(vector: readonly unknown[], copy: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < copy.length; i++) {
    const value = vector[i];
    const rounded = typeof value === 'number' ? Math.fround(value) + 0 : NaN;
    copy[i] = rounded;
    squares += rounded * rounded;
  }
  return squares;
}

/** Of the first value that is no number, or not finite in float32. */
function numberFault(vector: ArrayLike<unknown>, key: string): ValidationError {
  for (let i = 0; ; i++) {
    const value = vector[i];
    if (typeof value !== 'number') return invalid(`${key}[${i}]`, value, 'a number');
    if (!Number.isFinite(Math.fround(value)))
      return invalid(`${key}[${i}]`, value, 'a number that is finite in float32');
  }
}

/** @throws `VALIDATION` unless `value` is a whole number from `min` to `max`. */
export function checkWhole(value: unknown, key: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw invalid(key, value, `a whole number from ${min} to ${max}`);
  return value;
}

/** @throws `VALIDATION` for what is no object, and for a key that means nothing: a misspelt one would be ignored. */
export function checkKeys(value: unknown, key: string, allowed: readonly string[]): Record<string, unknown> {
  if (!isPlainObject(value)) throw invalid(key, value, 'an object');
  for (const name of Object.keys(value)) if (!allowed.includes(name)) throw unknownKey(`${key}.${name}`, allowed);
  return value;
}

function checkWellFormed(value: unknown, key: string): string {
  if (typeof value !== 'string') throw invalid(key, value, 'a string');
  if (!value.isWellFormed()) throw invalid(key, value, 'well-formed text (it has a lone surrogate)');
  if (value.includes('\0')) throw invalid(key, value, 'text without U+0000');
  return value;
}

function checkBytes(text: string, key: string, maxBytes: number): string {
  const bytes = Buffer.byteLength(text);
  if (bytes > maxBytes)
    throw new ValidationError('VALIDATION', `${key}: expected at most ${maxBytes} bytes of UTF-8, got ${bytes}`, {
      details: { key, bytes, maxBytes },
    });
  return text;
}
