/** Paging: sort keys, opaque cursors, and the index ranges that a cursor stands for. */
import { invalid, UnsupportedError, ValidationError } from '../errors.js';
import { knownFields, type FieldReference, type FieldType, type FilterDomain, type TypedReference } from './fields.js';
import { isPlainObject } from './json.js';
import type { FilterNode, Scalar } from './syntax.js';

export type Direction = 'asc' | 'desc';

/** One key of an order. The last one of a sort is always the record's id, in the direction of the key before it. */
export interface SortKey extends FieldReference {
  readonly type: FieldType;
  readonly direction: Direction;
}

export const MAX_SORT_KEYS = 3;

/**
 * Validates a host's sort. Missing and null are one value: first ascending, last descending.
 * @throws `VALIDATION` for a malformed sort, `UNSUPPORTED` for a field that has no declared type.
 */
export function parseSort(sort: unknown, domain: FilterDomain): SortKey[] {
  if (sort !== undefined && !isPlainObject(sort))
    throw invalid('sort', sort, "an object of fields and 'asc' or 'desc'");
  const entries = Object.entries(sort ?? {});
  if (entries.length > MAX_SORT_KEYS) throw invalid('sort', sort, `at most ${MAX_SORT_KEYS} fields`);
  const keys = entries.map(([field, direction]): SortKey => {
    if (direction !== 'asc' && direction !== 'desc') throw invalid(`sort.${field}`, direction, "'asc' or 'desc'");
    const known = knownFields(domain).get(field);
    if (known === undefined)
      throw new UnsupportedError(
        `sort.${field}: only declared fields and the envelope can be sorted by; declare it in the collection's \`fields\``,
        { details: { key: field } },
      );
    return sortKey(known, direction);
  });
  const id = keys.findIndex(isId);
  // No two records of a tenant have one id: after it nothing decides any more.
  if (id !== -1) return keys.slice(0, id + 1);
  keys.push(sortKey(ID, keys.at(-1)?.direction ?? 'asc'));
  return keys;
}

const ID: TypedReference = { source: 'envelope', path: ['id'], type: 'string' };
const KEYS = new WeakMap<TypedReference, Record<Direction, SortKey>>();

/** One object for a field and a direction, so that what is made of a key can be kept by its identity. */
function sortKey(field: TypedReference, direction: Direction): SortKey {
  let keys = KEYS.get(field);
  if (keys === undefined)
    KEYS.set(field, (keys = { asc: { ...field, direction: 'asc' }, desc: { ...field, direction: 'desc' } }));
  return keys[direction];
}

export function isId(key: FieldReference): boolean {
  return key.source === 'envelope' && key.path[0] === 'id';
}

export function reverseSort(sort: readonly SortKey[]): SortKey[] {
  return sort.map((key) => ({ ...key, direction: key.direction === 'asc' ? 'desc' : 'asc' }));
}

export interface Cursor {
  /** Whether the page lies after the row, or before it. */
  readonly direction: 'after' | 'before';
  /** The row's sort values, its id last; null for missing. */
  readonly values: readonly Scalar[];
}

const FORMAT = 1;

/**
 * Characters of the longest cursor there can be: the sort values of a record of 2 MiB, the hard limit of its JSON, and the
 * rest of the cursor, as base64.
 */
export const CURSOR_LENGTH = 2_800_000;

/**
 * What a cursor is bound to: the same collection, tenant, order and filter. It guards against a mistake, not against an
 * attack: a cursor's values are checked and bound whoever made it.
 */
export function queryHash(collection: string, tenant: string, sort: readonly SortKey[], filter: FilterNode): string {
  let text = `${collection}\0${tenant}`;
  for (const { source, path, direction } of sort) text += `\0${source}\0${path.join('.')}\0${direction}`;
  return fingerprint(`${text}\0${describeFilter(filter)}`);
}

/** A text that two filters have in common only when they are the same; cheaper than JSON of the whole tree. */
function describeFilter(node: FilterNode): string {
  switch (node.op) {
    case 'and':
    case 'or':
      return `${node.op}(${node.nodes.map(describeFilter).join(' ')})`;
    case 'not':
      return `not(${describeFilter(node.node)})`;
    case 'text':
      return JSON.stringify(node.words);
    default: {
      const { source, path } = node.field;
      const operand = 'values' in node ? node.values : 'value' in node ? node.value : '';
      return `${node.op} ${source} ${path.join('.')} ${JSON.stringify(operand)}`;
    }
  }
}

/** FNV-1a over UTF-16 units, twice with different starts: a fraction of what a cryptographic hash costs a page. */
function fingerprint(text: string): string {
  let a = 0x811c9dc5;
  let b = 0xcbf29ce4;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x01000193) ^ (b >>> 15);
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36);
}

export function encodeCursor(cursor: Cursor, query: string): string {
  return packCursor(query, [cursor.direction === 'after' ? 1 : -1, cursor.values]);
}

/**
 * Reads a cursor back. It is not trusted: its values are checked here and bound as parameters later.
 * @throws `INVALID_CURSOR` when it is malformed, of another version, or made by another query.
 */
export function decodeCursor(cursor: unknown, sort: readonly SortKey[], query: string): Cursor {
  const [direction, values] = unpackCursor(cursor, query, 2);
  if ((direction !== 1 && direction !== -1) || !Array.isArray(values) || values.length !== sort.length)
    throw malformedCursor();
  if (!sort.every((key, i) => fits(key, values[i]))) throw malformedCursor();
  return { direction: direction === 1 ? 'after' : 'before', values: values as Scalar[] };
}

/** The text of a cursor: what it holds, bound to its query. */
export function packCursor(query: string, content: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([FORMAT, query, ...content])).toString('base64url');
}

/** What a cursor holds, not checked any further. @throws `INVALID_CURSOR` */
export function unpackCursor(cursor: unknown, query: string, length: number): unknown[] {
  const packed = checkCursor(cursor);
  if (packed.length !== length + 2) throw malformedCursor();
  if (packed[1] !== query) throw refuse('it belongs to another query (collection, tenant, sort or filter)');
  return packed.slice(2);
}

/** For a query that is not known yet. @throws `INVALID_CURSOR` for what is no cursor of any. */
export function checkCursor(cursor: unknown): readonly unknown[] {
  if (typeof cursor !== 'string') throw refuse(`expected a string, got ${typeof cursor}`);
  if (cursor.length > CURSOR_LENGTH || !/^[A-Za-z0-9_-]+$/.test(cursor)) throw malformedCursor();
  let packed: unknown;
  try {
    packed = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    throw malformedCursor();
  }
  if (!Array.isArray(packed) || packed[0] !== FORMAT) throw malformedCursor();
  return packed;
}

export function malformedCursor(): ValidationError {
  return refuse('it is malformed');
}

/**
 * What a record stands by in an order. A value of another type than the key's, which a process with an earlier declaration
 * has left there, counts as missing; a date inside a value is any text.
 */
export function placeOf(key: SortKey, value: unknown): Scalar {
  return hasType(key, value) ? (value as Scalar) : null;
}

export function hasType({ type }: SortKey, value: unknown): boolean {
  return typeof value === (type === 'date' ? 'string' : type);
}

function fits(key: SortKey, value: unknown): boolean {
  if (value === null) return !isId(key);
  if (!hasType(key, value)) return false;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'string') return true;
  // A sign is of the years before 0, which no time of a record has and a server may not know.
  if (key.source === 'envelope' && key.type === 'date') return isInstant(value) && !value.startsWith('-');
  return value.isWellFormed() && !value.includes('\0');
}

function isInstant(text: string): boolean {
  return !Number.isNaN(Date.parse(text)) && new Date(text).toISOString() === text;
}

function refuse(reason: string): ValidationError {
  return new ValidationError('INVALID_CURSOR', `The cursor cannot be used: ${reason}`, { details: { reason } });
}

/** An equality prefix (null: is missing or null) and one condition: exactly one range of an index. */
export interface Range {
  readonly equal: readonly (readonly [SortKey, Scalar])[];
  readonly last: RangeEnd;
}

export type RangeEnd =
  | { readonly key: SortKey; readonly op: 'gt' | 'lt'; readonly value: Exclude<Scalar, null> }
  | { readonly key: SortKey; readonly op: 'isNull' }
  | { readonly key: SortKey; readonly op: 'notNull' };

/**
 * The rows after `values` in the order of `sort`, as disjoint ranges in that order. One predicate with OR would scan the
 * whole tenant; a row comparison breaks on nulls and on mixed directions.
 */
export function cursorRanges(sort: readonly SortKey[], values: readonly Scalar[]): Range[] {
  const ranges: Range[] = [];
  for (let j = sort.length - 1; j >= 0; j--) {
    const key = sort[j]!;
    const value = values[j] ?? null;
    const equal = sort.slice(0, j).map((prefix, i) => [prefix, values[i] ?? null] as const);
    if (key.direction === 'asc') {
      ranges.push({ equal, last: value === null ? { key, op: 'notNull' } : { key, op: 'gt', value } });
    } else if (value !== null) {
      ranges.push({ equal, last: { key, op: 'lt', value } });
      if (isNullable(key)) ranges.push({ equal, last: { key, op: 'isNull' } });
    }
  }
  return ranges;
}

export function isNullable(key: FieldReference): boolean {
  return key.source === 'value' || key.path[0] === 'expiresAt';
}
