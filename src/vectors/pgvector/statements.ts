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
import { columnsOf, type Statement } from './rows.js';
import { distance, tableName } from './table.js';

function scoped(scope: VectorScope, filter: CompiledFilter | undefined, parameters: Parameters): string {
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

/** In the order of the index, which a relaxed scan gives only roughly: hence the sort outside. */
export function indexedStatement(schema: VectorSchema, scope: VectorScope, request: VectorSearch): Statement {
  const { parameters, columns, where, measure, limit } = searchParts(schema, scope, request);
  return {
    parameters,
    text:
      `WITH c AS MATERIALIZED (SELECT ${columns}, ${measure} AS distance FROM ${tableName(schema)} ` +
      `WHERE ${where} ORDER BY ${measure} LIMIT ${limit}) SELECT * FROM c ORDER BY distance, id`,
  };
}

/** The sum keeps every index on the embedding out of the plan, and the sort holds no more than the rows asked for. */
export function exactStatement(schema: VectorSchema, scope: VectorScope, request: VectorSearch): Statement {
  const { parameters, columns, where, measure, limit } = searchParts(schema, scope, request);
  return {
    parameters,
    text:
      `SELECT ${columns}, ${measure} AS distance FROM ${tableName(schema)} WHERE ${where} ` +
      `ORDER BY (${measure}) + 0, id LIMIT ${limit}`,
  };
}

function searchParts(schema: VectorSchema, scope: VectorScope, { vector, topK, filter, include }: VectorSearch) {
  const parameters = new Parameters();
  const measure = distance(schema.metric, parameters.vector(vector));
  const where = scoped(scope, filter, parameters);
  return { parameters, measure, where, columns: columnsOf(include), limit: parameters.integer(topK) };
}
