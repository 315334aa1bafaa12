/** Reads of many records by filter, order and ranges. */
import type { CountRequest, FindRequest, Scope } from '../backend.js';
import type { Range, RangeEnd, SortKey } from '../../filter/cursor.js';
import { ALL, type FilterNode } from '../../filter/syntax.js';
import type { Dialect, Parameters, SelectRows, Statement } from './dialect.js';
import { keyExpression, orderTerm } from './expressions.js';
import { compileFilter } from './filter.js';
import { RECORD_COLUMNS } from './row.js';

/** The predicate of what a scope and a filter may see at `now`. */
export function whereLive(
  dialect: Dialect,
  scope: Scope,
  filter: FindRequest['filter'],
  now: Date,
  parameters: Parameters,
): string {
  const terms: string[] = [];
  if (scope !== 'all') terms.push(`t.tenant = ${parameters.text(scope.tenant)}`);
  terms.push(`t.expires_at > ${parameters.time(now)}`);
  if (filter !== ALL) terms.push(compileFilter(dialect, filter, parameters));
  return terms.join(' AND ');
}

export function findColumns(scope: Scope): string {
  return scope === 'all' ? `t.tenant, ${RECORD_COLUMNS}` : RECORD_COLUMNS;
}

/** @param range where the rows lie; absent: anywhere. */
export function findStatement(
  dialect: Dialect,
  scope: Scope,
  request: FindRequest,
  range: Range | undefined,
  now: Date,
): Statement {
  const parameters = dialect.parameters();
  const select: SelectRows = (from, limit) => {
    const source = from();
    // First: of two bounds of one key SQLite searches by the first, and a range lies within what the filter leaves.
    const within = range === undefined ? '' : `${rangePredicate(dialect, range, parameters)} AND `;
    const where = whereLive(dialect, scope, request.filter, now, parameters);
    const order = orderBy(dialect, scope, request.sort, range, request.filter);
    const bound = limit(() => parameters.integer(request.limit));
    return `SELECT ${findColumns(scope)} FROM ${source} ${within}${where} ORDER BY ${order} LIMIT ${bound}`;
  };
  const rows = `${dialect.tableName(request.collection.name)} t WHERE`;
  const text =
    dialect.fewOrMany?.(scope, request, parameters, select) ??
    select(
      () => rows,
      (bound) => bound(),
    );
  return { text, parameters };
}

export function countStatement(dialect: Dialect, scope: Scope, request: CountRequest, now: Date): Statement {
  const parameters = dialect.parameters();
  const where = whereLive(dialect, scope, request.filter, now, parameters);
  const rows = `${dialect.tableName(request.collection.name)} t WHERE ${where}`;
  const { limit } = request;
  const from = limit === undefined ? rows : `(SELECT 1 FROM ${rows} LIMIT ${parameters.integer(limit)}) AS c`;
  return { text: `SELECT ${dialect.count} AS count FROM ${from}`, parameters };
}

export function deleteManyStatement(
  dialect: Dialect,
  scope: Scope,
  request: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
  now: Date,
): Statement {
  const parameters = dialect.parameters();
  const where = whereLive(dialect, scope, request.filter, now, parameters);
  const limit = parameters.integer(request.limit);
  const table = dialect.tableName(request.collection.name);
  return { text: dialect.deleteText(table, where, `LIMIT ${limit}`), parameters };
}

export function sweepStatement(dialect: Dialect, collection: string, before: Date, limit: number): Statement {
  const parameters = dialect.parameters();
  // The second condition lets the planner use the partial index of what expires.
  const where = `t.expires_at <= ${parameters.time(before)} AND ${dialect.expires('t.')}`;
  const bound = parameters.integer(limit);
  const tail = `ORDER BY t.expires_at LIMIT ${bound}`;
  return { text: dialect.deleteText(dialect.tableName(collection), where, tail), parameters };
}

/** @param filter what pins keys to one value */
export function orderBy(
  dialect: Dialect,
  scope: Scope,
  sort: readonly SortKey[],
  range?: Range,
  filter: FilterNode = ALL,
): string {
  const isPinned = (key: SortKey, i: number): boolean => {
    if (range !== undefined && (i < range.equal.length || (range.last.op === 'isNull' && key === range.last.key)))
      return true;
    // The last key is the id's: there is always an order.
    return i < sort.length - 1 && pins(filter, key);
  };
  // An order that names a pinned key would be sorted for, and not be read from the index.
  const keys = dialect.pinnedKeys ? sort : sort.filter((key, i) => !isPinned(key, i));
  const terms = keys.map((key) => orderTerm(dialect, key, key.direction, 't.'));
  if (scope === 'all') terms.push('t.tenant ASC');
  return terms.join(', ');
}

/** Whether a filter leaves one value of the key. */
function pins(filter: FilterNode, { source, path }: SortKey): boolean {
  const nodes = 'nodes' in filter && filter.op === 'and' ? filter.nodes : [filter];
  return nodes.some(
    (node) => node.op === 'eq' && node.field.source === source && node.field.path.join('.') === path.join('.'),
  );
}

export function rangePredicate(dialect: Dialect, range: Range, parameters: Parameters): string {
  const terms = range.equal.map(([key, value]) => {
    const expression = keyExpression(dialect, key, 't.');
    return value === null
      ? `${expression} IS NULL`
      : `${expression} = ${parameters.operand(value, key.source, key.type)}`;
  });
  terms.push(rangeEnd(dialect, range.last, parameters));
  return terms.join(' AND ');
}

function rangeEnd(dialect: Dialect, end: RangeEnd, parameters: Parameters): string {
  const expression = keyExpression(dialect, end.key, 't.');
  if (end.op === 'isNull') return `${expression} IS NULL`;
  if (end.op === 'notNull') return dialect.notNull(expression, end.key);
  return `${expression} ${end.op === 'gt' ? '>' : '<'} ${parameters.operand(end.value, end.key.source, end.key.type)}`;
}
