/** Statements over one collection's table; tenant and namespace come first in each, and in the key. */
import type {
  CompiledFilter,
  VectorInclude,
  VectorList,
  VectorSchema,
  VectorScope,
  VectorSearch,
  VectorSelection,
} from '../provider.js';
import { compileFilter } from './filter.js';
import { Parameters } from './parameters.js';
import { candidates, type Precision } from './precision.js';
import { columnsOf, type Statement } from './rows.js';
import { distance, indexedDistance, tableName } from './table.js';

/** The rows of a scope that match. */
export function scoped(scope: VectorScope, filter: CompiledFilter | undefined, parameters: Parameters): string {
  const own = `tenant = ${parameters.text(scope.tenant)} AND namespace = ${parameters.text(scope.namespace)}`;
  return filter === undefined ? own : `${own} AND ${compileFilter(filter.tree, parameters)}`;
}

export function fetchStatement(
  schema: VectorSchema,
  scope: VectorScope,
  ids: readonly string[],
  include: VectorInclude,
): Statement {
  const parameters = new Parameters();
  const where = `${scoped(scope, undefined, parameters)} AND id = ANY(${parameters.texts(ids)})`;
  return { parameters, text: `SELECT ${columnsOf(include)} FROM ${tableName(schema)} WHERE ${where}` };
}

/** One row more than the page, which tells whether there is another. */
export function listStatement(
  schema: VectorSchema,
  scope: VectorScope,
  { filter, limit, after, include }: VectorList,
): Statement {
  const parameters = new Parameters();
  const own = scoped(scope, filter, parameters);
  const where = after === undefined ? own : `${own} AND id > ${parameters.text(after)}`;
  return {
    parameters,
    text:
      `SELECT ${columnsOf(include)} FROM ${tableName(schema)} WHERE ${where} ` +
      `ORDER BY id LIMIT ${parameters.integer(limit + 1)}`,
  };
}

export function countStatement(
  schema: VectorSchema,
  scope: VectorScope,
  filter: CompiledFilter | undefined,
): Statement {
  const parameters = new Parameters();
  const where = scoped(scope, filter, parameters);
  return { parameters, text: `SELECT count(*) AS count FROM ${tableName(schema)} WHERE ${where}` };
}

export function deleteStatement(schema: VectorSchema, scope: VectorScope, selection: VectorSelection): Statement {
  const parameters = new Parameters();
  const own = scoped(scope, 'filter' in selection ? selection.filter : undefined, parameters);
  const where = 'ids' in selection ? `${own} AND id = ANY(${parameters.texts(selection.ids)})` : own;
  return { parameters, text: `DELETE FROM ${tableName(schema)} WHERE ${where}` };
}

/**
 * In the order of the index, which a relaxed scan gives only roughly: hence the sort outside.
 *
 * @param efSearch sets `hnsw.ef_search` once the statement is planned: what needs no row is evaluated before the scan begins.
 */
export function indexedStatement(
  schema: VectorSchema,
  scope: VectorScope,
  request: VectorSearch,
  precision: Precision,
  binary: boolean,
  efSearch?: number,
): Statement {
  return searchStatement(schema, scope, request, binary, (vector) => ({
    order: indexedDistance(schema, precision, vector),
    rows: candidates(precision, request.topK),
    ...(efSearch !== undefined && {
      gate: `(SELECT set_config('hnsw.ef_search', '${efSearch}', true)) IS NOT NULL`,
    }),
  }));
}

/** The sum keeps every index on the embedding out of the plan, and the sort holds no more than the rows asked for. */
export function exactStatement(
  schema: VectorSchema,
  scope: VectorScope,
  request: VectorSearch,
  binary: boolean,
): Statement {
  return searchStatement(schema, scope, request, binary, (vector) => ({
    order: `(${distance(schema.metric, vector)}) + 0, id`,
    rows: request.topK,
  }));
}

/**
 * With the number of candidates as `met` where they are more than the rows asked for.
 * Vectors are written as text outside, for the rows that are given rather than for all that are compared.
 */
function searchStatement(
  schema: VectorSchema,
  scope: VectorScope,
  { vector, topK, filter, include }: VectorSearch,
  binary: boolean,
  scan: (vector: string) => { readonly order: string; readonly rows: number; readonly gate?: string },
): Statement {
  const parameters = new Parameters(binary);
  const target = parameters.vector(vector);
  const measure = distance(schema.metric, target);
  const own = scoped(scope, filter, parameters);
  const { order, rows, gate } = scan(target);
  const where = gate === undefined ? own : `${gate} AND ${own}`;
  const inner = `SELECT ${columnsOf(include, 'embedding')}, ${measure} AS distance FROM ${tableName(schema)} WHERE ${where}`;
  const met = rows > topK ? ', (SELECT count(*) FROM c) AS met' : '';
  const outer = `SELECT ${columnsOf(include)}, distance${met} FROM c ORDER BY distance, id`;
  const best = rows > topK ? ` LIMIT ${parameters.integer(topK)}` : '';
  return {
    parameters,
    text: `WITH c AS MATERIALIZED (${inner} ORDER BY ${order} LIMIT ${parameters.integer(rows)}) ${outer}${best}`,
  };
}
