/** One page of a query: its plan, made and checked before any I/O, and its rows. */
import type { CallOptions, OperationContext } from '../component.js';
import { invalid } from '../errors.js';
import {
  cursorRanges,
  decodeCursor,
  encodeCursor,
  parseSort,
  placeOf,
  queryHash,
  reverseSort,
  type Cursor,
  type Range,
  type SortKey,
} from '../filter/cursor.js';
import { recordField } from '../filter/evaluate.js';
import { isDate } from '../filter/json.js';
import type { FilterDomain, FilterNode, Scalar } from '../filter/syntax.js';
import type { Sort } from './options.js';
import type { StoredRecord } from './record-codec.js';
import type { RecordBackend, RecordSchema, Scope, Stored, TenantScope } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';

/** The one page of the library. `next` and `previous` are cursors: pass either as `after`. */
export interface Page<I> {
  readonly items: I[];
  /** Absent on the last page. */
  readonly next?: string;
  /** Absent on the first page. */
  readonly previous?: string;
}

/** `F`: the collection's declared fields. */
export interface ListOptions<F extends string> extends CallOptions {
  /**
   * At most three keys; missing and null come first ascending. Default: by id. Ids that are made by one process are in the
   * order of insertion; those of several processes are so by their clocks.
   */
  readonly sort?: Sort<F> | undefined;
  /** 1 to 1,000; default 50. */
  readonly limit?: number | undefined;
  /** A page's `next` or `previous`, of the same query. */
  readonly after?: string | undefined;
}

export interface PagePlan {
  readonly filter: FilterNode;
  /** As asked for. */
  readonly sort: readonly SortKey[];
  readonly limit: number;
  readonly cursor: Cursor | undefined;
  /** What its cursors are bound to; only asked where there is one. */
  readonly hash: () => string;
}

/** @throws `VALIDATION`, `INVALID_CURSOR`, `UNSUPPORTED` for a sort by an undeclared path. */
export function planPage(
  collection: string,
  tenant: string,
  domain: FilterDomain,
  filter: FilterNode,
  options: ListOptions<never>,
): PagePlan {
  const sort = parseSort(options.sort, domain);
  const limit = checkLimit(options.limit, 50);
  const hash = (): string => queryHash(collection, tenant, sort, filter);
  const cursor = options.after === undefined ? undefined : decodeCursor(options.after, sort, hash());
  return { filter, sort, limit, cursor, hash };
}

/** @throws `VALIDATION` unless a whole number from 1 to 1,000. */
export function checkLimit(limit: unknown, usual: number): number {
  if (limit === undefined) return usual;
  if (!Number.isInteger(limit) || (limit as number) < 1 || (limit as number) > LIMITS.pageItems)
    throw invalid('limit', limit, `a whole number from 1 to ${LIMITS.pageItems}`);
  return limit as number;
}

/** `decode` makes of a row what the host gets; it takes the row over. */
export async function fetchPage<R>(
  backend: RecordBackend,
  collection: RecordSchema,
  scope: Scope,
  { filter, sort, limit, cursor, hash }: PagePlan,
  decode: (row: Stored) => R,
  context: OperationContext,
): Promise<Page<R>> {
  // A page before a row is the page after it in the opposite order, turned round.
  const backwards = cursor?.direction === 'before';
  const order = backwards ? reverseSort(sort) : sort;
  const request = { collection, filter, sort: order, limit: limit + 1 };
  const found = await backend.find(
    scope,
    cursor === undefined ? request : { ...request, ranges: cursorRanges(order, cursor.values) },
    context,
  );
  const more = found.length > limit;
  if (more) found.pop();
  if (backwards) found.reverse();
  const cursorAt = (row: Stored, direction: Cursor['direction']): string =>
    encodeCursor({ direction, values: sort.map((key) => placeOf(key, recordField(row, key))) }, hash());
  const first = found[0];
  const last = found.at(-1);
  const next = last !== undefined && (more || backwards) ? cursorAt(last, 'after') : undefined;
  const back = backwards ? more : cursor !== undefined;
  const previous = first !== undefined && back ? cursorAt(first, 'before') : undefined;
  return {
    items: found.map(decode),
    ...(next === undefined ? {} : { next }),
    ...(previous === undefined ? {} : { previous }),
  };
}

/**
 * What comes after a record in an order: of a host's record, too, whose times are dates. Its id is taken as it is stored, which
 * that of a sequence is not.
 */
export function rangesAfter(sort: readonly SortKey[], record: StoredRecord<unknown>): Range[] {
  const place = (key: SortKey): Scalar => {
    const value = recordField(record as StoredRecord<object>, key);
    return placeOf(key, isDate(value) ? value.toISOString() : value);
  };
  return cursorRanges(sort, sort.map(place));
}

/** Deletes up to `limit` matching records, for backends that have no faster way. `met` is how many matched. */
export async function deletePage(
  backend: RecordBackend,
  scope: TenantScope,
  request: { readonly collection: RecordSchema; readonly filter: FilterNode; readonly limit: number },
  context: OperationContext,
): Promise<{ readonly met: number; readonly deleted: number }> {
  const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
  const rows = await backend.find(scope, { ...request, sort }, context);
  let deleted = 0;
  // One by one, each in the version that matched: what another writer changed or deleted meanwhile is no longer ours.
  for (const { id, version, createdAt } of rows) {
    const same = { ifVersion: version, ifCreatedAt: createdAt };
    const write = { collection: request.collection, id, kind: 'delete', returns: false, ...same } as const;
    const [result] = await backend.write(scope, [write], context);
    if (result?.status === 'deleted') deleted++;
  }
  return { met: rows.length, deleted };
}
