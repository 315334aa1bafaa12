/** The value domain: one walk that checks a value, copies it and measures it, before any I/O. */
import { invalid, ValidationError } from '../errors.js';
import { dateText, type FieldType } from '../filter/syntax.js';
import { isDate, isPlainObject, valueAt } from '../filter/json.js';
import type { JsonObject, JsonValue, RecordSchema } from './backend.js';
import { LIMITS } from './limits.js';

export interface Encoded {
  readonly value: JsonObject;
  /** Of the value as JSON in UTF-8. */
  readonly bytes: number;
}

/**
 * A host's value as it is stored: a copy, dates of declared fields as ISO text, `undefined` properties dropped, `-0` as 0.
 * @throws `VALIDATION` with the path, for what JSON cannot carry, for a declared field of another type, for the limits.
 */
export function encodeValue(value: unknown, schema: RecordSchema, maxBytes: number): Encoded {
  if (!isPlainObject(value)) throw invalid('value', value, 'a plain object');
  const copy = encodeObject(value, schema, 'value', '', 1, new Set());
  checkFields(copy, schema);
  const bytes = Buffer.byteLength(JSON.stringify(copy));
  if (bytes > maxBytes)
    throw new ValidationError('VALIDATION', `value: expected at most ${maxBytes} bytes of JSON, got ${bytes}`, {
      details: { key: 'value', bytes, maxBytes },
    });
  return { value: copy, bytes };
}

/** As `encodeValue`, for one JSON value that stands at `path` (in a patch). */
export function encodeElement(value: unknown, schema: RecordSchema, path: string, at: string): JsonValue {
  return encodeJson(value, schema, at, path, path.split('.').length + 1, new Set());
}

function encodeObject(
  value: Record<string, unknown>,
  schema: RecordSchema,
  at: string,
  path: string,
  depth: number,
  open: Set<object>,
): JsonObject {
  if (depth > LIMITS.depth) throw invalid(at, value, `at most ${LIMITS.depth} levels`);
  if (open.has(value))
    throw new ValidationError('VALIDATION', `${at}: the value refers to itself`, { details: { key: at } });
  open.add(value);
  const copy: Record<string, JsonValue> = {};
  for (const key of Object.keys(value)) {
    checkKey(key, at);
    const item = value[key];
    if (item === undefined) continue;
    const here = path === '' ? key : `${path}.${key}`;
    copy[key] = encodeJson(item, schema, `${at}.${key}`, here, depth + 1, open);
  }
  if (Object.getOwnPropertySymbols(value).length > 0) throw invalid(at, value, 'an object without symbol keys');
  open.delete(value);
  return copy;
}

function encodeJson(
  value: unknown,
  schema: RecordSchema,
  at: string,
  path: string,
  depth: number,
  open: Set<object>,
): JsonValue {
  switch (typeof value) {
    case 'string':
      return checkText(value, at);
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw invalid(at, value, 'a finite number');
      return value === 0 ? 0 : value;
    case 'object': {
      if (value === null) return null;
      if (Array.isArray(value)) return encodeArray(value, schema, at, path, depth, open);
      if (isDate(value) && schema.fields.get(path)?.type === 'date') return encodeDate(value, at);
      if (isPlainObject(value)) return encodeObject(value, schema, at, path, depth, open);
      throw invalid(
        at,
        value,
        isDate(value) ? "a JSON value (declare the field as 'date' to keep a Date)" : 'a JSON value',
      );
    }
    default:
      throw invalid(at, value, 'a JSON value');
  }
}

function encodeArray(
  value: readonly unknown[],
  schema: RecordSchema,
  at: string,
  path: string,
  depth: number,
  open: Set<object>,
): JsonValue[] {
  if (depth > LIMITS.depth) throw invalid(at, value, `at most ${LIMITS.depth} levels`);
  if (open.has(value))
    throw new ValidationError('VALIDATION', `${at}: the value refers to itself`, { details: { key: at } });
  open.add(value);
  const copy: JsonValue[] = [];
  for (let i = 0; i < value.length; i++) {
    if (!Object.hasOwn(value, i) || value[i] === undefined) throw invalid(`${at}[${i}]`, value[i], 'a JSON value');
    // Elements have no path of their own: what a declared path names is never inside an array.
    copy.push(encodeJson(value[i], schema, `${at}[${i}]`, `${path}[]`, depth + 1, open));
  }
  open.delete(value);
  return copy;
}

function encodeDate(value: Date, at: string): string {
  try {
    return dateText(value, at);
  } catch {
    throw invalid(at, value, 'a Date of the years 0000 to 9999');
  }
}

function checkKey(key: string, at: string): void {
  if (key === '__proto__') throw invalid(`${at}.${key}`, key, 'a key other than __proto__');
  if (!key.isWellFormed() || key.includes('\0')) throw invalid(`${at}: a key`, key, 'well-formed text without U+0000');
  if (Buffer.byteLength(key) > LIMITS.keyBytes) throw invalid(`${at}: a key`, key, `at most ${LIMITS.keyBytes} bytes`);
}

function checkText(value: string, at: string): string {
  if (!value.isWellFormed()) throw invalid(at, value, 'well-formed text (it has a lone surrogate)');
  if (value.includes('\0')) throw invalid(at, value, 'text without U+0000');
  return value;
}

/** Every declared field: its type, its length, and that no array stands on its path. */
function checkFields(value: JsonObject, schema: RecordSchema): void {
  for (const [path, field] of schema.fields) {
    const segments = path.split('.');
    for (let n = 1; n < segments.length; n++)
      if (Array.isArray(valueAt(value, segments.slice(0, n))))
        throw invalid(
          `value.${segments.slice(0, n).join('.')}`,
          [],
          `no array on the way to the declared field ${path}`,
        );
    const item = valueAt(value, segments);
    if (item !== undefined) checkField(path, item as JsonValue, field);
  }
}

/** @throws `VALIDATION` when an encoded value does not fit the declared field it stands at. */
export function checkField(path: string, item: JsonValue, field: { type: FieldType; maxBytes: number }): void {
  if (item === null) return;
  const at = `value.${path}`;
  if (field.type === 'date') {
    if (typeof item !== 'string' || !isDateText(item)) throw invalid(at, item, 'a Date, or null');
  } else if (typeof item !== field.type) {
    throw invalid(at, item, `a ${field.type} (as declared), or null`);
  }
  if (field.type === 'string' && Buffer.byteLength(item as string) > field.maxBytes)
    throw new ValidationError(
      'VALIDATION',
      `${at}: expected at most ${field.maxBytes} bytes, got ${Buffer.byteLength(item as string)}`,
      {
        details: { key: at, maxBytes: field.maxBytes },
      },
    );
}

function isDateText(text: string): boolean {
  const time = Date.parse(text);
  return !Number.isNaN(time) && new Date(time).toISOString() === text;
}

/** A stored value as a host gets it: Dates where they are declared. The value is changed in place. */
export function decodeValue(value: JsonObject, dates: readonly string[]): Record<string, unknown> {
  for (const path of dates) {
    const segments = path.split('.');
    const last = segments.pop()!;
    const parent = valueAt(value, segments);
    if (!isPlainObject(parent) || !Object.hasOwn(parent, last)) continue;
    const text = parent[last];
    if (typeof text === 'string') parent[last] = new Date(text);
  }
  return value;
}

/** A copy of a JSON value, so that what one caller changes no other sees. */
export function copyJson<V extends JsonValue>(value: V): V {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map((item) => copyJson(item)) as JsonValue as V;
  const copy: Record<string, JsonValue> = {};
  for (const key of Object.keys(value)) copy[key] = copyJson((value as JsonObject)[key]!);
  return copy as JsonValue as V;
}

/** @throws `VALIDATION` for what cannot be an id. */
export function checkId(id: unknown, key = 'id'): string {
  return checkKeyText(id, key, LIMITS.idBytes);
}

/** @throws `VALIDATION` for what cannot be a tenant. `quartermaster` is the library's own. */
export function checkTenant(tenant: unknown): string {
  const text = checkKeyText(tenant, 'tenant', LIMITS.tenantBytes);
  if (text === 'quartermaster') throw invalid('tenant', tenant, 'another name (quartermaster is reserved)');
  return text;
}

function checkKeyText(value: unknown, key: string, maxBytes: number): string {
  if (typeof value !== 'string') throw invalid(key, value, 'a string');
  if (value === '') throw invalid(key, value, 'at least one character');
  if (!value.isWellFormed()) throw invalid(key, value, 'well-formed text (it has a lone surrogate)');
  if (/\p{Cc}/u.test(value)) throw invalid(key, value, 'text without control characters');
  if (value.trim() !== value) throw invalid(key, value, 'text without space at its ends');
  if (Buffer.byteLength(value) > maxBytes) throw invalid(key, value, `at most ${maxBytes} bytes of UTF-8`);
  return value;
}
