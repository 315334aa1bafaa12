/** Reads of many records by filter, order and ranges. */
import type { FindRequest, Scope } from '../backend.js';
import type { Range, RangeEnd, SortKey } from '../../filter/cursor.js';
import { ALL } from '../../filter/syntax.js';
import { keyExpression, orderTerm, tableName } from './expressions.js';
import { compileFilter } from './filter.js';
import { bindType, bindValue, Parameters, timeText } from './parameters.js';
import { RECORD_COLUMNS } from './row.js';

export interface Statement {
  readonly text: string;
  readonly parameters: Parameters;
}

/** The predicate of what a scope and a filter may see at `now`. */
export function whereLive(scope: Scope, filter: FindRequest['filter'], now: Date, parameters: Parameters): string {
  const terms: string[] = [];
  if (scope !== 'all') terms.push(`t.tenant = ${parameters.add(scope.tenant, 'text')}`);
  terms.push(`t.expires_at > ${parameters.add(timeText(now), 'timestamptz')}`);
  if (filter !== ALL) terms.push(compileFilter(filter, parameters));
  return terms.join(' AND ');
}

export function findStatement(scope: Scope, request: FindRequest, now: Date): Statement {
  const parameters = new Parameters();
  const table = tableName(request.collection.name);
  const where = whereLive(scope, request.filter, now, parameters);
  const order = orderBy(scope, request.sort);
  const limit = parameters.add(request.limit, 'integer');
  const columns = scope === 'all' ? `t.tenant, ${RECORD_COLUMNS}` : RECORD_COLUMNS;
  const { ranges } = request;
  if (ranges === undefined || ranges.length === 1) {
    const range = ranges?.[0];
    const within = range === undefined ? where : `${where} AND ${rangePredicate(range, parameters)}`;
    return { text: `SELECT ${columns} FROM ${table} t WHERE ${within} ORDER BY ${order} LIMIT ${limit}`, parameters };
  }
  if (ranges.length === 0)
    return { text: `SELECT ${columns} FROM ${table} t WHERE FALSE`, parameters: new Parameters() };
  // Each range is one part of an index and stops at the limit; a predicate with OR would read the whole tenant.
  const parts = ranges.map(
    (range, i) =>
      `(SELECT ${columns}, ${i} AS part, row_number() OVER (ORDER BY ${order}) AS place FROM ${table} t` +
      ` WHERE ${where} AND ${rangePredicate(range, parameters)} ORDER BY ${order} LIMIT ${limit})`,
  );
  return { text: `${parts.join(' UNION ALL ')} ORDER BY part, place LIMIT ${limit}`, parameters };
}

export function countStatement(
  scope: Scope,
  request: Pick<FindRequest, 'collection' | 'filter'>,
  now: Date,
): Statement {
  const parameters = new Parameters();
  const where = whereLive(scope, request.filter, now, parameters);
  return {
    text: `SELECT count(*)::float8 AS count FROM ${tableName(request.collection.name)} t WHERE ${where}`,
    parameters,
  };
}

export function deleteManyStatement(
  scope: Scope,
  request: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
  now: Date,
): Statement {
  const parameters = new Parameters();
  const table = tableName(request.collection.name);
  const where = whereLive(scope, request.filter, now, parameters);
  const limit = parameters.add(request.limit, 'integer');
  // The condition stands outside too: a row that changed meanwhile is asked again before it is deleted.
  return {
    text: `DELETE FROM ${table} t WHERE (t.tenant, t.id) IN (SELECT t.tenant, t.id FROM ${table} t WHERE ${where} LIMIT ${limit}) AND ${where}`,
    parameters,
  };
}

export function sweepStatement(collection: string, before: Date, limit: number): Statement {
  const parameters = new Parameters();
  const table = tableName(collection);
  // `< 'infinity'` lets the planner use the partial index of what expires.
  const where = `t.expires_at <= ${parameters.add(timeText(before), 'timestamptz')} AND t.expires_at < 'infinity'::timestamptz`;
  const bound = parameters.add(limit, 'integer');
  return {
    text: `DELETE FROM ${table} t WHERE (t.tenant, t.id) IN (SELECT t.tenant, t.id FROM ${table} t WHERE ${where} ORDER BY t.expires_at LIMIT ${bound}) AND ${where}`,
    parameters,
  };
}

function orderBy(scope: Scope, sort: readonly SortKey[]): string {
  // All keys stay in the order within a range: the planner does not know that `IS NULL` pins a key.
  const terms = sort.map((key) => orderTerm(key, key.direction, 't.'));
  if (scope === 'all') terms.push('t.tenant ASC');
  return terms.join(', ');
}

function rangePredicate(range: Range, parameters: Parameters): string {
  const terms = range.equal.map(([key, value]) => {
    const expression = keyExpression(key, 't.');
    if (value === null) return `${expression} IS NULL`;
    const type = bindType(key.source, key.type);
    return `${expression} = ${parameters.add(bindValue(value, type), type)}`;
  });
  terms.push(rangeEnd(range.last, parameters));
  return terms.join(' AND ');
}

function rangeEnd(end: RangeEnd, parameters: Parameters): string {
  const expression = keyExpression(end.key, 't.');
  if (!('value' in end)) return `${expression} ${end.op === 'isNull' ? 'IS NULL' : 'IS NOT NULL'}`;
  const type = bindType(end.key.source, end.key.type);
  return `${expression} ${end.op === 'gt' ? '>' : '<'} ${parameters.add(bindValue(end.value, type), type)}`;
}
