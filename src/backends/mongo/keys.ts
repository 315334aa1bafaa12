/**
 * How keys of values are stored. A `$` at the beginning and a dot mean something to servers; the client takes `_bsontype`
 * for one of its own types, and gives arrays back as raw bytes under the names that every object inherits. An array under
 * the empty key leaves its document out of FerretDB's indexes.
 */
import type { FieldReference } from '../../filter/syntax.js';
import type { JsonObject, JsonValue } from '../backend.js';

export function encodeKey(key: string): string {
  return isPlainKey(key) ? key : `~${key}`;
}

function isPlainKey(key: string): boolean {
  const first = key.charCodeAt(0);
  if (first === TILDE || first === DOLLAR || key === '') return false;
  return key !== '_bsontype' && !key.includes('.') && !(key in Object.prototype);
}

const TILDE = 0x7e;
const DOLLAR = 0x24;

/** Whether a key somewhere in it is stored in another form: only then a value has to be rewritten. */
export function hasOddKeys(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return (value as readonly JsonValue[]).some(hasOddKeys);
  for (const key of Object.keys(value)) if (!isPlainKey(key) || hasOddKeys((value as JsonObject)[key]!)) return true;
  return false;
}

export function encodeKeys(value: JsonValue): JsonValue {
  return mapKeys(value, encodeKey);
}

export function decodeKeys(value: JsonValue): JsonValue {
  return mapKeys(value, (key) => (key.charCodeAt(0) === TILDE ? key.slice(1) : key));
}

function mapKeys(value: JsonValue, map: (key: string) => string): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map((item) => mapKeys(item, map));
  const mapped: Record<string, JsonValue> = {};
  for (const [key, item] of Object.entries(value as JsonObject)) mapped[map(key)] = mapKeys(item, map);
  return mapped;
}

/** The path of a place in the value. */
export function valuePath(path: readonly string[]): string {
  return `v.${path.map(encodeKey).join('.')}`;
}

const ENVELOPE: ReadonlyMap<string, string> = new Map([
  ['tenant', 't'],
  ['id', 'i'],
  ['version', 'n'],
  ['createdAt', 'c'],
  ['updatedAt', 'u'],
  ['expiresAt', 'e'],
]);

export function envelopePath(name: string): string {
  return ENVELOPE.get(name)!;
}

export function fieldPath({ source, path }: FieldReference): string {
  return source === 'envelope' ? envelopePath(path[0]!) : valuePath(path);
}
