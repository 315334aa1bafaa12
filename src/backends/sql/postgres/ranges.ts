/** Several ranges in one statement and one snapshot. */
import type { FindRequest, Scope } from '../../backend.js';
import type { Range } from '../../../filter/cursor.js';
import type { Dialect, Statement } from '../dialect.js';
import { findColumns, orderBy, rangePredicate, whereLive } from '../find.js';
import { tableName } from './expressions.js';
import { PostgresParameters } from './parameters.js';

export function rangesStatement(
  dialect: Dialect,
  scope: Scope,
  request: FindRequest,
  ranges: readonly Range[],
  now: Date,
): Statement {
  const parameters = new PostgresParameters();
  const table = tableName(request.collection.name);
  const columns = findColumns(scope);
  const where = whereLive(dialect, scope, request.filter, now, parameters);
  const limit = parameters.integer(request.limit);
  // Each range is one part of an index and stops at the limit; a predicate with OR would read the whole tenant.
  const parts = ranges.map((range, i) => {
    const order = orderBy(dialect, scope, request.sort, range);
    return (
      `(SELECT ${columns}, ${i} AS part, row_number() OVER (ORDER BY ${order}) AS place FROM ${table} t` +
      ` WHERE ${where} AND ${rangePredicate(dialect, range, parameters)} ORDER BY ${order} LIMIT ${limit})`
    );
  });
  return { text: `${parts.join(' UNION ALL ')} ORDER BY part, place LIMIT ${limit}`, parameters };
}
