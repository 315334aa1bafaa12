/** A call's arguments as JSON, and back: what a transaction leaves of it until it is made. */
import type { JsonValue } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { invalid } from '../errors.js';
import { isPlainObject } from '../filter/json.js';

/** What cannot be known when the transaction has committed, or means nothing then. */
const REFUSED = ['ifVersion', 'signal', 'timeout'] as const;
export type DeliveredRefusal = (typeof REFUSED)[number];

/** @throws `VALIDATION` for conditions and bounds: the call is made after the commit */
export function checkDeliveredOptions(options: unknown): void {
  for (const key of REFUSED)
    if (isPlainObject(options) && options[key] !== undefined)
      throw invalid(
        `options.${key}`,
        options[key],
        'none: the call is made after the commit, whatever there is by then',
      );
}

/** Dates keep being dates. @throws `VALIDATION` for what is no JSON */
export function encodeCall(args: readonly unknown[]): JsonValue[] {
  return args.map((arg, i) => encode(arg, `arguments[${i}]`, 0));
}

export function decodeCall(args: readonly JsonValue[]): unknown[] {
  return args.map(decode);
}

/** @param depth of what the value lies in; the bound ends a cycle too */
function encode(value: unknown, key: string, depth: number): JsonValue {
  if (value === undefined) return { $absent: true };
  if (value instanceof Date && !Number.isNaN(value.getTime())) return { $date: value.toISOString() };
  if (value instanceof Float32Array) return Array.from(value);
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (depth === LIMITS.depth) throw invalid(key, value, `JSON of at most ${LIMITS.depth} levels, without a cycle`);
  if (Array.isArray(value)) return value.map((item, i) => encode(item, `${key}[${i}]`, depth + 1));
  if (isPlainObject(value)) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    return Object.fromEntries(
      members.map(([name, member]) => [escaped(name), encode(member, `${key}.${name}`, depth + 1)]),
    );
  }
  throw invalid(key, value, 'JSON or a Date, which can be kept until it is delivered');
}

function decode(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(decode);
  if (!isPlainObject(value)) return value;
  if (value['$absent'] === true) return undefined;
  if (typeof value['$date'] === 'string') return new Date(value['$date']);
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name.startsWith('$$') ? name.slice(1) : name, decode(member)]),
  );
}

/** So that no member of the caller's is taken for one of ours. */
function escaped(name: string): string {
  return name.startsWith('$') ? `$${name}` : name;
}
