/**
 * Metadata between a host and the providers: nested plain objects outside, one flat map inside, in the one domain that
 * every provider can keep.
 */
import { invalid, ValidationError } from '../../errors.js';
import { isDate, isPlainObject } from '../../filter/json.js';
import type { FlatMetadata, MetadataLeaf, VectorFieldType, VectorSchema } from '../provider.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';

/** The years that a Date may have, as in records: 0000 to 9999. */
const MIN_TIME = Date.parse('0000-01-01T00:00:00.000Z');
const MAX_TIME = Date.parse('9999-12-31T23:59:59.999Z');

export interface EncodedMetadata {
  readonly metadata: FlatMetadata;
  /** Of the flat map as JSON in UTF-8. */
  readonly bytes: number;
}

/** Why a dotted path cannot be a key of flat metadata; `undefined` when it can. */
export function metadataKeyFault(path: string): string | undefined {
  const segments = path.split('.');
  if (segments.length > LIMITS.metadataDepth) return `has more than ${LIMITS.metadataDepth} levels`;
  if (segments[0] === 'qm') return 'begins with the segment qm, which is reserved';
  for (const segment of segments) {
    const fault = segmentFault(segment);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** Each rule is what one of the services cannot keep apart from something else. */
function segmentFault(segment: string): string | undefined {
  if (segment === '') return 'is empty';
  if (segment === '__proto__') return 'is __proto__';
  if (/^[$#]/.test(segment)) return 'begins with $ or #';
  if (segment.startsWith('chroma:')) return 'begins with chroma:';
  if (segment.endsWith('[]')) return 'ends with []';
  if (segment.includes('.')) return 'contains a dot';
  if (segment.includes('\0')) return 'contains U+0000';
  if (!segment.isWellFormed()) return 'has a lone surrogate';
  if (Buffer.byteLength(segment) > LIMITS.keyBytes) return `has more than ${LIMITS.keyBytes} bytes`;
  return undefined;
}

/**
 * A host's metadata as providers get it: a flat copy.
 * @throws `VALIDATION` with the key, for what is outside the domain, of another type than declared, or too large.
 */
export function encodeMetadata(
  metadata: unknown,
  fields: VectorSchema['fields'],
  maxBytes: number,
  at = 'metadata',
): EncodedMetadata {
  if (metadata === undefined) return { metadata: {}, bytes: 2 };
  if (!isPlainObject(metadata)) throw invalid(at, metadata, 'a plain object');
  const flat: Record<string, MetadataLeaf> = {};
  flatten(metadata, fields, flat, '', at, 1);
  const leaves = Object.keys(flat).length;
  if (leaves > LIMITS.metadataLeaves)
    throw new ValidationError('VALIDATION', `${at}: expected at most ${LIMITS.metadataLeaves} values, got ${leaves}`, {
      details: { key: at, leaves },
    });
  const bytes = Buffer.byteLength(JSON.stringify(flat));
  if (bytes > maxBytes)
    throw new ValidationError('VALIDATION', `${at}: expected at most ${maxBytes} bytes of JSON, got ${bytes}`, {
      details: { key: at, bytes, maxBytes },
    });
  return { metadata: flat, bytes };
}

function flatten(
  value: Record<string, unknown>,
  fields: VectorSchema['fields'],
  flat: Record<string, MetadataLeaf>,
  prefix: string,
  at: string,
  depth: number,
): void {
  // It also ends the walk of an object that refers to itself.
  if (depth > LIMITS.metadataDepth) throw invalid(at, value, `at most ${LIMITS.metadataDepth} levels`);
  if (Object.getOwnPropertySymbols(value).length > 0) throw invalid(at, value, 'an object without symbol keys');
  for (const key of Object.keys(value)) {
    const fault = segmentFault(key) ?? (prefix === '' && key === 'qm' ? 'is qm, which is reserved' : undefined);
    if (fault !== undefined)
      throw new ValidationError('VALIDATION', `${at}: the key ${JSON.stringify(key)} ${fault}`, {
        details: { key: at, reason: fault },
      });
    const path = `${prefix}${key}`;
    const item = value[key];
    const here = `${at}.${key}`;
    const declared = Object.hasOwn(fields, path) ? fields[path] : undefined;
    if (isPlainObject(item)) {
      if (declared !== undefined) throw invalid(here, item, expectation(declared));
      if (Object.keys(item).length === 0) throw invalid(here, item, 'an object with at least one key');
      flatten(item, fields, flat, `${path}.`, here, depth + 1);
    } else {
      flat[path] = declared === undefined ? encodeLeaf(item, here) : encodeDeclared(item, declared, here);
    }
  }
}

function encodeLeaf(value: unknown, at: string): MetadataLeaf {
  switch (typeof value) {
    case 'string':
      return checkText(value, at);
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
        throw invalid(at, value, 'a fraction or an integer within 2^53');
      return value === 0 ? 0 : value;
    default:
      if (Array.isArray(value)) return encodeList(value, at);
      if (isDate(value))
        throw invalid(
          at,
          value,
          "a string, number, boolean or string[] (use getTime(), or declare the field as 'date')",
        );
      throw invalid(at, value, 'a string, number, boolean or string[]');
  }
}

function encodeList(list: readonly unknown[], at: string): string[] {
  return Array.from(list, (item, i) => {
    if (typeof item !== 'string') throw invalid(`${at}[${i}]`, item, 'a string');
    return checkText(item, `${at}[${i}]`);
  });
}

function encodeDeclared(value: unknown, type: VectorFieldType, at: string): MetadataLeaf {
  if (type === 'date') {
    if (!isDate(value)) throw invalid(at, value, expectation(type));
    const time = value.getTime();
    if (!(time >= MIN_TIME && time <= MAX_TIME)) throw invalid(at, value, 'a Date of the years 0000 to 9999');
    return time;
  }
  if (type === 'string[]' ? !Array.isArray(value) : typeof value !== type) throw invalid(at, value, expectation(type));
  return encodeLeaf(value, at);
}

function expectation(type: VectorFieldType): string {
  return `${type === 'date' ? 'a Date' : `a ${type}`} (as declared); a field without a value is left out`;
}

function checkText(value: string, at: string): string {
  if (!value.isWellFormed()) throw invalid(at, value, 'well-formed text (it has a lone surrogate)');
  if (value.includes('\0')) throw invalid(at, value, 'text without U+0000');
  return value;
}

/** Flat metadata as a host gets it: nested, a copy, Dates where they are declared. */
export function decodeMetadata(flat: FlatMetadata, fields: VectorSchema['fields']): Record<string, unknown> {
  const metadata: Record<string, unknown> = {};
  for (const path of Object.keys(flat)) {
    const segments = path.split('.');
    const last = segments.pop()!;
    let parent = metadata;
    for (const segment of segments) {
      // Own properties only: a segment may be named `constructor`.
      if (!Object.hasOwn(parent, segment)) parent[segment] = {};
      parent = parent[segment] as Record<string, unknown>;
    }
    const leaf = flat[path]!;
    const declared = Object.hasOwn(fields, path) ? fields[path] : undefined;
    if (typeof leaf === 'object') parent[last] = [...leaf];
    else parent[last] = declared === 'date' && typeof leaf === 'number' ? new Date(leaf) : leaf;
  }
  return metadata;
}
