/** Search: by the index with an iterative scan, exactly where that finds too few. */
import type { OperationContext } from '../../component.js';
import type { SqlPool, SqlResult } from '../../pools/pool.js';
import type { ScoredVector, VectorSchema, VectorScope, VectorSearch } from '../provider.js';
import { compileFilter, Parameters } from './filter.js';
import { columns, scored, stored, vectorText } from './rows.js';
import { OPERATORS, tableName, withDefaults } from './tables.js';

export interface SearchSettings {
  /** How many candidates HNSW keeps; at least `topK` are kept whatever it says. */
  readonly efSearch: number;
}

export async function search(
  pool: SqlPool,
  settings: SearchSettings,
  schema: VectorSchema,
  scope: VectorScope,
  request: VectorSearch,
  context: OperationContext,
): Promise<ScoredVector[]> {
  const exactly = async (): Promise<ScoredVector[]> => {
    const { text, values } = statement(schema, scope, request, true);
    return toHits(await pool.query(text, values, context), schema);
  };
  const set = request.exact ? undefined : planSettings(schema, settings, request.topK);
  if (set === undefined) return exactly();
  const { text, values } = statement(schema, scope, request, false);
  const byIndex = async (inside: OperationContext): Promise<SqlResult> => {
    // They last until the end of the transaction, also the host's: they change plans of vector searches alone.
    await pool.script(set, inside);
    return pool.query(text, values, inside);
  };
  const result =
    context.session === undefined
      ? await pool.transaction({ context, isolation: 'snapshot' }, (session) => byIndex({ ...context, session }))
      : await byIndex(context);
  // An iterative scan ends after 20,000 candidates: with a selective filter, tenant or namespace it may have missed some.
  return result.rows.length < request.topK ? exactly() : toHits(result, schema);
}

function toHits({ rows }: SqlResult, { metric }: VectorSchema): ScoredVector[] {
  return rows.map((row) => scored(row, metric));
}

function planSettings({ index }: VectorSchema, { efSearch }: SearchSettings, topK: number): string | undefined {
  switch (index.kind) {
    case 'none':
      return undefined;
    case 'ivfflat':
      return `SET LOCAL ivfflat.iterative_scan = relaxed_order; SET LOCAL ivfflat.probes = ${withDefaults(index).probes}`;
    case 'hnsw': {
      const ef = Math.min(1_000, Math.max(efSearch, topK));
      return `SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = ${ef}`;
    }
  }
}

/**
 * The distance is ordered by inside, or the index is not used; the outer order puts right what a relaxed scan gives.
 * `+ 0` keeps every index on the embedding out. The statement has no name: a generic plan would not see the tenant.
 */
function statement(
  schema: VectorSchema,
  scope: VectorScope,
  { vector, topK, filter, include }: VectorSearch,
  exact: boolean,
): { text: string; values: Parameters['values'] } {
  const parameters = new Parameters(vectorText(vector), scope.tenant, scope.namespace, topK);
  const distance = `embedding ${OPERATORS[schema.metric].distance} $1::text::vector`;
  const condition = filter === undefined ? '' : ` AND ${compileFilter(filter.tree, parameters)}`;
  const order = exact ? `(${distance}) + 0, id` : distance;
  const text =
    `WITH c AS MATERIALIZED (SELECT ${stored(include)}, ${distance} AS distance FROM ${tableName(schema.name)} ` +
    `WHERE tenant = $2::text AND namespace = $3::text${condition} ORDER BY ${order} LIMIT $4::integer) ` +
    // Written as text out here, for the rows that are given rather than for all that are compared.
    `SELECT ${columns(include)}, distance FROM c ORDER BY distance, id`;
  return { text, values: parameters.values };
}
