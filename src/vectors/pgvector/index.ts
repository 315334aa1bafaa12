/** The pgvector provider: vectors in PostgreSQL or PGlite, on the same pool and in the same transactions as the records. */
import type { Clock } from '../../clock.js';
import type { CheckResult, OpenContext, OperationContext } from '../../component.js';
import { isStorageError, NotFoundError, UnsupportedError } from '../../errors.js';
import type { SqlPool } from '../../pools/pool.js';
import { VECTOR_LIMITS } from '../codec.js';
import type {
  CompiledFilter,
  FetchedVector,
  ProviderDriver,
  ScoredVector,
  StoredVector,
  VectorCapabilities,
  VectorInclude,
  VectorList,
  VectorProvider,
  VectorSchema,
  VectorScope,
  VectorSearch,
  VectorSelection,
} from '../provider.js';
import { compileFilter, Parameters } from './filter.js';
import { batchColumns, columns, fetched } from './rows.js';
import { search, type SearchSettings } from './search.js';
import { prepareDatabase } from './extension.js';
import { Statistics } from './statistics.js';
import { createTable, dropTable, listTables, readSchema, tableName } from './tables.js';

/** How long preparing the database may wait for another process that does the same. */
const PREPARE_TIMEOUT = 30_000;
const EF_SEARCH = 100;
const UNDEFINED_TABLE = '42P01';

class PgvectorProvider implements VectorProvider {
  readonly capabilities: VectorCapabilities;
  /** The extension's; absent while the provider is not open. */
  private version: string | undefined;
  private readonly statistics: Statistics;

  constructor(
    readonly pool: SqlPool,
    readonly name: string,
    private readonly clock: Clock,
    private readonly settings: SearchSettings,
  ) {
    this.statistics = new Statistics(pool);
    this.capabilities = {
      metrics: ['cosine', 'euclidean', 'dot'],
      exact: true,
      operators: { stringRange: true, notRange: 'always' },
      metadataDigits: 17,
      deleteCount: true,
      listOrder: 'id',
      text: false,
      hybrid: false,
      sparse: false,
      consistency: 'immediate',
      transactions: true,
      durable: pool.durable,
      maxDimension: 16_000,
      maxTopK: 10_000,
      maxBatch: 500,
      maxMetadataBytes: VECTOR_LIMITS.metadataBytes,
    };
  }

  async open({ signal }: OpenContext): Promise<void> {
    const deadline = this.clock.monotonic() + PREPARE_TIMEOUT;
    const inside = { now: this.clock.now(), deadline, signal };
    this.version = await prepareDatabase(this.pool, this.name, inside);
  }

  /** The pool is checked itself; there is nothing else to be ill. */
  async check(): Promise<CheckResult> {
    return this.version === undefined
      ? { status: 'unhealthy', message: 'The provider is not open' }
      : { status: 'healthy', details: { pgvector: this.version } };
  }

  async close(): Promise<void> {
    this.version = undefined;
  }

  createCollection(schema: VectorSchema, context: OperationContext): Promise<void> {
    return createTable(this.pool, schema, context);
  }

  describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    return readSchema(this.pool, name, context);
  }

  listCollections(context: OperationContext): Promise<string[]> {
    return listTables(this.pool, context);
  }

  deleteCollection(name: string, context: OperationContext): Promise<boolean> {
    this.statistics.forget(name);
    return dropTable(this.pool, name, context);
  }

  async upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<{ token?: string }> {
    const text =
      `INSERT INTO ${tableName(schema.name)} (tenant, namespace, id, embedding, metadata, text) ` +
      'SELECT $1::text, $2::text, r.id, r.embedding::vector, r.metadata::jsonb, r.text ' +
      'FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS r(id, embedding, metadata, text) ' +
      'ON CONFLICT (tenant, namespace, id) DO UPDATE ' +
      'SET embedding = excluded.embedding, metadata = excluded.metadata, text = excluded.text';
    await this.query(schema, text, [scope.tenant, scope.namespace, ...batchColumns(records)], context);
    await this.statistics.wrote(schema.name, records.length, context);
    return {};
  }

  async fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
  ): Promise<(FetchedVector | undefined)[]> {
    const text =
      `SELECT ${columns(include)} FROM ${tableName(schema.name)} ` +
      'WHERE tenant = $1::text AND namespace = $2::text AND id = ANY($3::text[])';
    const { rows } = await this.query(schema, text, [scope.tenant, scope.namespace, ids], context);
    const byId = new Map(rows.map((row) => [row['id'], fetched(row)]));
    return ids.map((id) => byId.get(id));
  }

  async list(
    schema: VectorSchema,
    scope: VectorScope,
    { filter, limit, after, include }: VectorList,
    context: OperationContext,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    const { text: where, parameters } = condition(scope, filter);
    const from = after === undefined ? '' : ` AND id > ${parameters.add(after, 'text')}`;
    const text =
      `SELECT ${columns(include)} FROM ${tableName(schema.name)} WHERE ${where}${from} ` +
      `ORDER BY id LIMIT ${parameters.add(limit + 1, 'integer')}`;
    const { rows } = await this.query(schema, text, parameters.values, context);
    const items = rows.slice(0, limit).map(fetched);
    return rows.length > limit ? { items, next: items.at(-1)!.id } : { items };
  }

  async count(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<number> {
    const { text: where, parameters } = condition(scope, filter);
    const text = `SELECT count(*)::integer AS count FROM ${tableName(schema.name)} WHERE ${where}`;
    const { rows } = await this.query(schema, text, parameters.values, context);
    return rows[0]?.['count'] as number;
  }

  async delete(
    schema: VectorSchema,
    scope: VectorScope,
    selection: VectorSelection,
    context: OperationContext,
  ): Promise<{ deleted?: number }> {
    const { text: where, parameters } = condition(scope, 'filter' in selection ? selection.filter : undefined);
    const ids = 'ids' in selection ? ` AND id = ANY(${parameters.add(selection.ids, 'text[]')})` : '';
    const text = `DELETE FROM ${tableName(schema.name)} WHERE ${where}${ids}`;
    const { affected } = await this.query(schema, text, parameters.values, context);
    return { deleted: affected };
  }

  search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    return this.found(schema, context, () => search(this.pool, this.settings, schema, scope, request, context));
  }

  private query(schema: VectorSchema, text: string, values: Parameters['values'], context: OperationContext) {
    return this.found(schema, context, () => this.pool.query(text, values, context));
  }

  /** A table that is not there is a collection that is not there: another process may have deleted it. */
  private async found<R>(schema: VectorSchema, { session }: OperationContext, work: () => Promise<R>): Promise<R> {
    const earlier = session?.failure;
    try {
      return await work();
    } catch (error) {
      // A transaction that has failed answers everything with its failure, which may be about another table.
      if (error === earlier || !isStorageError(error) || error.details['sqlstate'] !== UNDEFINED_TABLE) throw error;
      throw new NotFoundError(`The vector collection ${schema.name} is not there`, {
        component: this.name,
        details: { collection: schema.name },
        cause: error,
      });
    }
  }
}

function condition(scope: VectorScope, filter: CompiledFilter | undefined): { text: string; parameters: Parameters } {
  const parameters = new Parameters(scope.tenant, scope.namespace);
  const base = 'tenant = $1::text AND namespace = $2::text';
  return { text: filter === undefined ? base : `${base} AND ${compileFilter(filter.tree, parameters)}`, parameters };
}

export const pgvector: ProviderDriver = {
  name: 'pgvector',
  pooled: true,
  settings: {
    efSearch: { doc: 'How many candidates a search by HNSW keeps, up to 1,000.', format: 'nat', default: EF_SEARCH },
  },
  create(settings, { pool, name, clock }) {
    if (pool === undefined || (pool as Partial<SqlPool>).dialect !== 'postgres')
      throw new UnsupportedError(
        'pgvector needs PostgreSQL or PGlite: vectors.pgvector.database must name such a database',
        { component: name },
      );
    const { efSearch = EF_SEARCH } = settings as { efSearch?: number };
    return new PgvectorProvider(pool as SqlPool, name, clock, { efSearch });
  },
};
