/** The value domain: one walk that checks a value, copies it and measures it, before any I/O. */
import { invalid, ValidationError } from '../errors.js';
import { isDate, isPlainObject, valueAt } from '../filter/json.js';
import type { FieldSchema, JsonObject, JsonValue, RecordSchema } from './backend.js';
import { checkFields } from './declared-fields.js';
import { LIMITS } from './limits.js';

export interface Encoded {
  readonly value: JsonObject;
  /** As JSON in UTF-8 the value has at most so many bytes; `jsonBytes` tells exactly. */
  readonly bound: number;
}

/** Of a value as JSON in UTF-8. */
export function jsonBytes(value: JsonValue | object): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/**
 * A host's value as it is stored: a copy, dates of declared fields as ISO text, `undefined` properties dropped, `-0` as 0.
 * @param at what errors call the value
 * @param before what it replaces: with no more bytes than that it is never too large
 * @throws `VALIDATION` with the path, for what JSON cannot carry, for a declared field of another type, for the limits.
 */
export function encodeValue(
  value: unknown,
  schema: RecordSchema,
  maxBytes: number,
  at = 'value',
  before?: object,
): Encoded {
  if (!isPlainObject(value)) throw invalid(at, value, 'a plain object');
  if (isRecord(value) && schema.fields.get('createdAt')?.type !== 'date')
    throw invalid(at, value, 'a value, which of a stored record is its `value`');
  const walk = new Walk(schema, at, '');
  const copy = walk.object(value, 1);
  checkFields(copy, schema);
  // The bound is cheap; the exact size is worked out only where it decides.
  const { bound } = walk;
  const bytes = bound <= maxBytes ? bound : jsonBytes(copy);
  if (bytes > maxBytes && (before === undefined || bytes > jsonBytes(before)))
    throw new ValidationError('VALIDATION', `${at}: expected at most ${maxBytes} bytes of JSON, got ${bytes}`, {
      details: { key: at, bytes, maxBytes },
    });
  return { value: copy, bound: bytes };
}

/** Whether it is what a collection gives: its Date would be refused as if it were the value's own. */
function isRecord({ value, version, createdAt, updatedAt }: Readonly<Record<string, unknown>>): boolean {
  return isDate(createdAt) && isDate(updatedAt) && typeof version === 'number' && typeof value === 'object';
}

/** As `encodeValue`, for one JSON value that stands at `path` (in a patch) and has no limit; `at` names it in errors. */
export function encodeElement(
  value: unknown,
  schema: RecordSchema,
  path: string,
  at: string,
): { readonly value: JsonValue; readonly bound: number } {
  const walk = new Walk(schema, at, path);
  const copy = walk.json(value, path.split('.').length + 1);
  return { value: copy, bound: walk.bound };
}

/** One walk over a value. Where it is is told by a trail, and put into words only when something is wrong. */
class Walk {
  /** No more bytes of JSON than this. */
  bound = 0;
  private readonly trail: (string | number)[] = [];

  constructor(
    private readonly schema: RecordSchema,
    private readonly root: string,
    private readonly path: string,
  ) {}

  object(value: Record<string, unknown>, depth: number): JsonObject {
    this.checkDepth(value, depth);
    if (Object.getOwnPropertySymbols(value).length > 0) throw this.refuse(value, 'an object without symbol keys');
    const copy: Record<string, JsonValue> = {};
    this.bound += 2;
    for (const key of Object.keys(value)) {
      this.trail.push(key);
      this.checkKey(key);
      const item = value[key];
      if (item !== undefined) {
        this.bound += key.length * BYTES_PER_UNIT + 4;
        copy[key] = this.json(item, depth + 1);
      }
      this.trail.pop();
    }
    return copy;
  }

  json(value: unknown, depth: number): JsonValue {
    switch (typeof value) {
      case 'string':
        this.checkText(value);
        this.bound += value.length * BYTES_PER_UNIT + 2;
        return value;
      case 'boolean':
        this.bound += 5;
        return value;
      case 'number':
        if (!Number.isFinite(value)) throw this.refuse(value, 'a finite number');
        this.bound += 25;
        return value === 0 ? 0 : value;
      case 'object':
        if (value === null) {
          this.bound += 4;
          return null;
        }
        if (Array.isArray(value)) return this.array(value, depth);
        if (isPlainObject(value)) return this.object(value, depth);
        return this.date(value);
      default:
        throw this.refuse(value, 'a JSON value');
    }
  }

  private array(value: readonly unknown[], depth: number): JsonValue[] {
    this.checkDepth(value, depth);
    const copy: JsonValue[] = [];
    this.bound += 2;
    for (let i = 0; i < value.length; i++) {
      this.trail.push(i);
      if (value[i] === undefined) throw this.refuse(value[i], 'a JSON value');
      this.bound += 1;
      copy.push(this.json(value[i], depth + 1));
      this.trail.pop();
    }
    return copy;
  }

  private date(value: object): string {
    if (!isDate(value)) throw this.refuse(value, 'a JSON value');
    if (this.field()?.type !== 'date')
      throw this.refuse(value, "a JSON value (of a Date its toISOString(), or a field that is declared as 'date')");
    this.bound += 27;
    const year = value.getUTCFullYear();
    // Years of another length would not sort as text.
    if (Number.isNaN(year) || year < 0 || year > 9999) throw this.refuse(value, 'a Date of the years 0000 to 9999');
    return isoText(value);
  }

  /** A value that refers to itself ends here too. */
  private checkDepth(value: unknown, depth: number): void {
    if (depth > LIMITS.depth) throw this.refuse(value, `at most ${LIMITS.depth} levels`);
  }

  private checkKey(key: string): void {
    if (isPlainText(key)) return;
    if (key === '__proto__') throw this.refuse(key, 'a key other than __proto__');
    if (!key.isWellFormed() || key.includes('\0')) throw this.refuse(key, 'a key of well-formed text without U+0000');
    if (key.length * 3 > LIMITS.keyBytes && Buffer.byteLength(key) > LIMITS.keyBytes)
      throw this.refuse(key, `a key of at most ${LIMITS.keyBytes} bytes`);
  }

  private checkText(value: string): void {
    if (!value.isWellFormed()) throw this.refuse(value, 'well-formed text (it has a lone surrogate)');
    if (value.includes('\0')) throw this.refuse(value, 'text without U+0000');
  }

  /** What is declared where it is: nothing for an element, or below a key that only looks like a path. */
  private field(): FieldSchema | undefined {
    if (!this.trail.every((step) => typeof step === 'string' && !step.includes('.'))) return undefined;
    return this.schema.fields.get([...(this.path === '' ? [] : [this.path]), ...this.trail].join('.'));
  }

  private refuse(value: unknown, expected: string): ValidationError {
    const at = this.trail.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('');
    return invalid(this.root + at, value, expected);
  }
}

/** A UTF-16 unit is at most 3 bytes of UTF-8, and at most 6 when JSON escapes it. */
export const BYTES_PER_UNIT = 6;

let lastTime = { time: 0, text: new Date(0).toISOString() };

/** `toISOString`, which takes longer than all else of a time; most times of one write are the same. */
export function isoText(date: Date): string {
  const time = date.getTime();
  if (time !== lastTime.time) lastTime = { time, text: date.toISOString() };
  return lastTime.text;
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

/**
 * What `JSON.parse(JSON.stringify(value))` gives of a value made of JSON, dates and `undefined`: dates as their text, no members
 * that are `undefined`, null for a number that is none.
 */
export function toJson(value: unknown): JsonValue | undefined {
  if (value === undefined || value === null) return value;
  if (typeof value !== 'object')
    return typeof value === 'number' && !Number.isFinite(value) ? null : (value as JsonValue);
  if (Array.isArray(value)) return value.map((item) => toJson(item) ?? null);
  if (isDate(value)) return value.toJSON();
  const copy: Record<string, JsonValue> = {};
  for (const key of Object.keys(value)) {
    const member = toJson((value as Readonly<Record<string, unknown>>)[key]);
    if (member !== undefined) copy[key] = member;
  }
  return copy;
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

/** Short visible ASCII, which nothing forbids: nearly every key and id there is. */
function isPlainText(text: string): boolean {
  const { length } = text;
  if (length === 0 || length > 80) return false;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x21 || unit > 0x7e) return false;
  }
  return text !== '__proto__';
}

function checkKeyText(value: unknown, key: string, maxBytes: number): string {
  if (typeof value !== 'string') throw invalid(key, value, 'a string');
  if (value === '') throw invalid(key, value, 'at least one character');
  if (isPlainText(value)) return value;
  if (!value.isWellFormed()) throw invalid(key, value, 'well-formed text (it has a lone surrogate)');
  if (/\p{Cc}/u.test(value)) throw invalid(key, value, 'text without control characters');
  if (value.trim().length !== value.length) throw invalid(key, value, 'text without space at its ends');
  if (value.length * 3 > maxBytes && Buffer.byteLength(value) > maxBytes)
    throw invalid(key, value, `at most ${maxBytes} bytes of UTF-8`);
  return value;
}
