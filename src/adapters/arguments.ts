/** What callers give to stores: read, checked and put into the one form that is stored, before any I/O. */
import { invalid, unknownKey } from '../errors.js';
import { isDate, isPlainObject } from '../filter/json.js';
import { LIMITS } from '../backends/limits.js';
import { checkId, copyJson, encodeElement, jsonBytes } from '../backends/value.js';
import { isStorableTime } from '../collection/record-codec.js';
import type { JsonObject, JsonValue, RecordSchema } from '../backends/backend.js';

/** Gives the argument in its stored form. @throws `VALIDATION` that names `key`. */
export type Reader<T> = (value: unknown, key: string) => T;

type Shape = Readonly<Record<string, Reader<unknown>>>;
type Read<S extends Shape> = { readonly [K in keyof S]: ReturnType<S[K]> };

/** An object of these members; one of another name is refused. */
export function shape<S extends Shape>(members: S): Reader<Read<S>> {
  const entries = Object.entries(members);
  // What errors call the members: nearly every call of one reader is of the same argument.
  let names = { key: '', of: [] as string[] };
  return (value, key) => {
    if (!isPlainObject(value)) throw invalid(key, value, `an object of ${Object.keys(members).join(', ')}`);
    for (const name of Object.keys(value))
      if (!Object.hasOwn(members, name)) throw unknownKey(`${key}.${name}`, Object.keys(members));
    if (names.key !== key) names = { key, of: entries.map(([name]) => `${key}.${name}`) };
    const { of } = names;
    const read: Record<string, unknown> = {};
    entries.forEach(([name, member], i) => (read[name] = member(value[name], of[i]!)));
    return read as Read<S>;
  };
}

/** The members that an object has, of those it may have: a change. */
export function partial<S extends Shape>(members: S): Reader<Partial<Read<S>>> {
  const whole = shape(members);
  return (value, key) => {
    if (!isPlainObject(value)) return whole(value, key);
    const given = Object.entries(members).filter(([name]) => Object.hasOwn(value, name) && value[name] !== undefined);
    const named = Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
    for (const name of Object.keys(named))
      if (!Object.hasOwn(members, name)) throw unknownKey(`${key}.${name}`, Object.keys(members));
    return Object.fromEntries(given.map(([name, member]) => [name, member(named[name], `${key}.${name}`)])) as Partial<
      Read<S>
    >;
  };
}

/** `undefined` for what is absent, null or a blank string. */
export function optional<T>(reader: Reader<T>): Reader<T | undefined> {
  return (value, key) => (isAbsent(value) ? undefined : reader(value, key));
}

/** `null` for what is absent, null or a blank string. */
export function nullable<T>(reader: Reader<T>): Reader<T | null> {
  return (value, key) => (isAbsent(value) ? null : reader(value, key));
}

/**
 * `usual` (JSON) for what is absent or null, and for a blank string but where an object or a list is expected; each time a copy,
 * which the caller may keep and write into.
 */
export function withDefault<T>(reader: Reader<T>, usual: T): Reader<T> {
  const isShared = typeof usual === 'object' && usual !== null;
  return (value, key) => {
    if (!isAbsent(value) || (isShared && typeof value === 'string')) return reader(value, key);
    return isShared ? (copyJson(usual as JsonValue) as T) : usual;
  };
}

function isAbsent(value: unknown): value is undefined | null | string {
  return value === undefined || value === null || (typeof value === 'string' && value.trim() === '');
}

/** Trimmed, not blank, of at most `maxBytes` bytes of UTF-8, without control characters but tab and line ends. */
export function text(maxBytes = 1_020, expected = `a text of 1 to ${maxBytes} bytes`): Reader<string> {
  return (value, key) => {
    if (typeof value !== 'string') throw invalid(key, value, expected);
    const trimmed = value.trim();
    if (trimmed === '' || Buffer.byteLength(trimmed) > maxBytes) throw invalid(key, value, expected);
    if (!trimmed.isWellFormed() || /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(trimmed))
      throw invalid(key, value, 'well-formed text without control characters');
    return trimmed;
  };
}

/** As `text`, of characters of any script. */
export function characters(most: number): Reader<string> {
  const expected = `a text of 1 to ${most} characters`;
  const bounded = text(most * 4, expected);
  return (value, key) => {
    const given = bounded(value, key);
    if ([...given].length > most) throw invalid(key, value, expected);
    return given;
  };
}

/** Any text that can be an id: up to 255 bytes, no control characters, no padding. */
export const id: Reader<string> = checkId;

const STORED_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/;

/** In lower case with hyphens, whatever it came as. */
export const uuid: Reader<string> = (value, key) => {
  if (typeof value === 'string' && STORED_UUID.test(value)) return value;
  const plain = typeof value === 'string' ? value.trim().toLowerCase() : '';
  if (!UUID.test(plain)) throw invalid(key, value, 'a UUID');
  return plain.replaceAll('-', '').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

const INSTANT = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?$/i;

/** A Date, or text of ISO 8601; without an offset it is UTC. */
export const instant: Reader<Date> = (value, key) => {
  const expected = 'a Date or a time of ISO 8601, of the years 0000 to 9999';
  const date = isDate(value) ? new Date(value) : typeof value === 'string' ? parseInstant(value.trim()) : undefined;
  if (date === undefined || !isStorableTime(date)) throw invalid(key, value, expected);
  return date;
};

function parseInstant(given: string): Date | undefined {
  if (!INSTANT.test(given)) return undefined;
  const iso = given.replace(' ', 'T');
  const day = iso.slice(0, 10);
  // A day that the month does not have would be one of the next month.
  if (new Date(day).toJSON()?.slice(0, 10) !== day) return undefined;
  const hasZone = /(?:Z|[+-]\d\d(?::?\d\d)?)$/i.test(iso.slice(10));
  // An offset of hours alone, as PostgreSQL prints it, is one that Date does not read.
  if (hasZone) return new Date(iso.replace(/([+-]\d\d)$/, '$1:00'));
  return new Date(iso.length === 10 ? iso : `${iso}Z`);
}

/** One of these words, in any case. */
export function choice<const W extends string>(words: readonly W[]): Reader<W> {
  return (value, key) => {
    const word = typeof value === 'string' ? value.trim().toLowerCase() : undefined;
    const known = words.find((candidate) => candidate.toLowerCase() === word);
    if (known === undefined) throw invalid(key, value, `one of ${words.join(', ')}`);
    return known;
  };
}

/** One or an array of them; the array may be empty. */
export function oneOrMany<T>(reader: Reader<T>): Reader<readonly T[]> {
  return (value, key) =>
    Array.isArray(value) ? value.map((item, i) => reader(item, `${key}[${i}]`)) : [reader(value, key)];
}

export function list<T>(reader: Reader<T>, most = 1_000): Reader<readonly T[]> {
  return (value, key) => {
    if (!Array.isArray(value)) throw invalid(key, value, 'an array');
    if (value.length > most) throw invalid(key, value, `at most ${most} items`);
    return value.map((item, i) => reader(item, `${key}[${i}]`));
  };
}

export function integer(least: number, most: number): Reader<number> {
  return (value, key) => {
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most)
      throw invalid(key, value, `a whole number from ${least} to ${most}`);
    return value === 0 ? 0 : (value as number);
  };
}

export const flag: Reader<boolean> = (value, key) => {
  if (typeof value !== 'boolean') throw invalid(key, value, 'true or false');
  return value;
};

// What a JSON value of an argument is checked by; no field of it is declared.
const ANY: RecordSchema = { name: 'arguments', fields: new Map(), indexes: [], unique: [], text: [] };

/** Any JSON value; a copy. */
export const json: Reader<JsonValue> = (value, key) => {
  if (value === undefined) throw invalid(key, value, 'a JSON value');
  return encodeElement(value, ANY, 'value', key).value;
};

/** @throws `VALIDATION` for more bytes of JSON */
export function upTo<T>(bytes: number, reader: Reader<T>): Reader<T> {
  return (value, key) => {
    const read = reader(value, key);
    if (read !== undefined && jsonBytes(read) > bytes) throw invalid(key, value, `at most ${bytes} bytes of JSON`);
    return read;
  };
}

/** A JSON object; a copy. */
export const jsonObject: Reader<JsonObject> = (value, key) => {
  if (!isPlainObject(value)) throw invalid(key, value, 'a JSON object');
  return json(value, key) as JsonObject;
};

/** Bytes of JSON: the rest of an event, and of the message in which a subscription gets it. */
const AROUND_AN_EVENT = 8_192;

/** What a host says in an event: whether anybody has subscribed or not, it is not too large or too deep to be delivered. */
function saidInEvent(path: string): Reader<JsonObject> {
  return upTo(LIMITS.recordBytes - AROUND_AN_EVENT, (value, key) => {
    if (!isPlainObject(value)) throw invalid(key, value, 'a JSON object');
    return encodeElement(value, ANY, path, key).value as JsonObject;
  });
}

// Where it stands in the message's record.
export const eventPayload = saidInEvent('payload.payload');
export const eventMetadata = saidInEvent('payload.payload.metadata');
