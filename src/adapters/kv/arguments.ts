/** What callers give to the key-value store, checked before any I/O. */
import { LIMITS } from '../../backends/limits.js';
import { BYTES_PER_UNIT, jsonBytes } from '../../backends/value.js';
import type { CallOptions } from '../../component.js';
import { invalid, unknownKey, ValidationError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { integer, json, text, type Reader } from '../arguments.js';
import { sized, type Address, type Sized } from './entry.js';

/** Of a namespace and of a key, in bytes. */
const NAME_BYTES = 1_020;
export const MAX_TTL_SECONDS = 1_000 * 365.25 * 86_400;
/** Of a record beside the value, the namespace and the key. */
const RECORD_BYTES = 256;

export const namespaceReader = text(NAME_BYTES);
export const keyReader = text(NAME_BYTES);
export const countReader = integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

export const VERSION = integer(1, Number.MAX_SAFE_INTEGER);

export function readAddress(namespace: unknown, key: unknown): Address {
  return { namespace: namespaceReader(namespace, 'namespace'), key: keyReader(key, 'key') };
}

/** Each key once or more; at most as many as a batch takes. */
export function readKeys(keys: unknown): string[] {
  if (!Array.isArray(keys)) throw invalid('keys', keys, 'an array of keys');
  if (keys.length > LIMITS.batchItems) throw invalid('keys', keys, `at most ${LIMITS.batchItems} keys`);
  return keys.map((key, i) => keyReader(key, `keys[${i}]`));
}

/** `null`: none. Milliseconds are kept. */
export const ttlReader: Reader<number | null> = (value, key) => {
  if (value === null) return null;
  if (typeof value !== 'number' || !(value > 0) || value > MAX_TTL_SECONDS)
    throw invalid(key, value, 'a number of seconds above 0 and at most a thousand years, or null');
  return value;
};

export function expiry(ttlSeconds: number | null, now: Date): Date | undefined {
  return ttlSeconds === null ? undefined : new Date(now.getTime() + Math.ceil(ttlSeconds * 1_000));
}

/** The options of a call besides its own bounds. @throws `VALIDATION` for one of another name */
export function readOptions<O extends CallOptions>(
  options: O,
  readers: { readonly [K in Exclude<keyof O, keyof CallOptions>]-?: Reader<unknown> },
): O {
  if (!isPlainObject(options)) throw invalid('options', options, 'an object');
  for (const [name, value] of Object.entries(options)) {
    if (name === 'signal' || name === 'timeout') continue;
    const reader = Object.hasOwn(readers, name) ? readers[name as keyof typeof readers] : undefined;
    if (reader === undefined) throw unknownKey(`options.${name}`, ['signal', 'timeout', ...Object.keys(readers)]);
    if (value !== undefined) reader(value, `options.${name}`);
  }
  return options;
}

/** A copy of the value, and its bytes. @throws `VALIDATION` for what is no JSON, and for too many bytes */
export function readValue(at: Address, value: unknown, limits: ValueLimits, name = 'value'): Sized {
  const copy = sized(json(value, name));
  const { bytes } = copy;
  // A record that is too large is refused before it is read what it replaces.
  const addressBound = BYTES_PER_UNIT * (at.namespace.length + at.key.length);
  if (bytes <= limits.maxValueBytes && bytes + addressBound <= limits.maxRecordBytes - RECORD_BYTES) return copy;
  const room = limits.maxRecordBytes - RECORD_BYTES - jsonBytes(at.namespace) - jsonBytes(at.key);
  const maxBytes = Math.min(limits.maxValueBytes, room);
  if (bytes <= maxBytes) return copy;
  throw new ValidationError('VALIDATION', `${name}: expected at most ${maxBytes} bytes of JSON, got ${bytes}`, {
    details: { key: name, bytes, maxBytes },
  });
}

export interface ValueLimits {
  readonly maxValueBytes: number;
  readonly maxRecordBytes: number;
}
