/** Vectors in PostgreSQL with pgvector, on the pool and in the transactions of a database's records. */
import type { Clock } from '../clock.js';
import type { CheckResult, OperationContext } from '../component.js';
import { UnsupportedError } from '../errors.js';
import { againAfterDeadlock } from '../pools/deadlock.js';
import type { Pool, PostgresDialectPool } from '../pools/pool.js';
import { VECTOR_LIMITS as LIMITS } from './codec/limits.js';
import { METRICS } from './codec/schema.js';
import { isSearchedWord } from './codec/text.js';
import { Collections } from './pgvector/collections.js';
import { collectionFault } from './pgvector/fault.js';
import { copyRows } from './pgvector/load.js';
import { vectorFault } from './pgvector/precision.js';
import { readRow, upsertStatement, type Statement } from './pgvector/rows.js';
import { Searcher } from './pgvector/search.js';
import { countStatement, deleteStatement, fetchStatement, listStatement } from './pgvector/statements.js';
import { Statistics } from './pgvector/statistics.js';
import { textStatement } from './pgvector/text.js';
import { VectorIndexes } from './pgvector/vector-index.js';
import type {
  CompiledFilter,
  FetchedVector,
  ProviderDriver,
  ScoredVector,
  SearchExplanation,
  StoredVector,
  TextSearch,
  VectorCapabilities,
  VectorInclude,
  VectorList,
  VectorProvider,
  VectorSchema,
  VectorScope,
  VectorSearch,
  VectorSelection,
} from './provider.js';

const EF_SEARCH = 100;

class PgVectorProvider implements VectorProvider {
  private readonly collections: Collections;
  private readonly searcher: Searcher;
  private readonly statistics: Statistics;
  private readonly indexes: VectorIndexes;

  constructor(
    readonly pool: PostgresDialectPool,
    readonly name: string,
    efSearch: number,
    clock: Clock,
  ) {
    this.collections = new Collections(pool, name);
    this.searcher = new Searcher(pool, efSearch);
    this.statistics = new Statistics(pool);
    this.indexes = new VectorIndexes(pool, clock, name);
  }

  get capabilities(): VectorCapabilities {
    return {
      metrics: METRICS,
      exact: true,
      operators: { stringRange: true, notRange: 'always' },
      metadataDigits: 17,
      deleteCount: true,
      listOrder: 'id',
      text: true,
      sparse: false,
      consistency: 'immediate',
      transactions: true,
      durable: this.pool.durable,
      maxDimension: 16_000,
      maxTopK: LIMITS.topK,
      maxBatch: LIMITS.batchItems,
      maxMetadataBytes: LIMITS.metadataBytes,
    };
  }

  /** Nothing of its own: the pool has its owner, and tables are made with their collections. */
  async open(): Promise<void> {}

  async check(): Promise<CheckResult> {
    return { status: 'healthy' };
  }

  async close(): Promise<void> {}

  createCollection(schema: VectorSchema, context: OperationContext): Promise<void> {
    return this.collections.create(schema, context);
  }

  describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    return this.collections.describe(name, context);
  }

  listCollections(context: OperationContext): Promise<string[]> {
    return this.collections.list(context);
  }

  async deleteCollection(name: string, context: OperationContext): Promise<boolean> {
    const deleted = await this.collections.delete(name, context);
    this.statistics.forget(name);
    return deleted;
  }

  readonly vectorFault = vectorFault;

  async upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<Record<string, never>> {
    await againAfterDeadlock(context, () =>
      this.collections.withVectorOid(context, (oid) =>
        this.run(upsertStatement(schema, scope, records, oid), schema, context),
      ),
    );
    await this.statistics.wrote(schema, records.length, context);
    return {};
  }

  /** A text's words are not made by COPY: a collection that searches texts is written by `upsert`. */
  async bulkLoad(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<void> {
    await this.guarded(schema, context, () => copyRows(this.pool, schema, scope, records, context));
    await this.statistics.wrote(schema, records.length, context);
  }

  async buildIndex(schema: VectorSchema, context: OperationContext): Promise<void> {
    await this.guarded(schema, context, () => this.indexes.build(schema, context));
    await this.statistics.gather(schema, context);
  }

  dropIndex(schema: VectorSchema, context: OperationContext): Promise<void> {
    return this.guarded(schema, context, () => this.indexes.drop(schema, context));
  }

  async fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
  ): Promise<(FetchedVector | undefined)[]> {
    const { rows } = await this.run(fetchStatement(schema, scope, ids, include), schema, context);
    const found = new Map(rows.map((row) => [row['id'], readRow(row, include)]));
    return ids.map((id) => found.get(id));
  }

  async list(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorList,
    context: OperationContext,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    const { rows } = await this.run(listStatement(schema, scope, request), schema, context);
    const items = rows.slice(0, request.limit).map((row) => readRow(row, request.include));
    return rows.length > request.limit ? { items, next: items.at(-1)!.id } : { items };
  }

  async count(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<number> {
    const { rows } = await this.run(countStatement(schema, scope, filter), schema, context);
    return Number(rows[0]?.['count']);
  }

  async delete(
    schema: VectorSchema,
    scope: VectorScope,
    selection: VectorSelection,
    context: OperationContext,
  ): Promise<{ deleted: number }> {
    const statement = deleteStatement(schema, scope, selection);
    const { affected } = await againAfterDeadlock(context, () => this.run(statement, schema, context));
    return { deleted: affected };
  }

  search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    return this.guarded(schema, context, () => this.searcher.search(schema, scope, request, context));
  }

  explain(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<SearchExplanation> {
    return this.guarded(schema, context, () => this.searcher.explain(schema, scope, request, context));
  }

  async searchText(
    schema: VectorSchema,
    scope: VectorScope,
    request: TextSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    if (!request.words.every(isSearchedWord)) return [];
    const { rows } = await this.run(textStatement(schema, scope, request), schema, context);
    return rows.map((row) => ({ ...readRow(row, request.include), score: Number(row['rank']) }));
  }

  private run(
    { text, parameters }: Statement,
    schema: VectorSchema,
    context: OperationContext,
  ): ReturnType<PostgresDialectPool['query']> {
    return this.guarded(schema, context, () => this.pool.query(text, parameters.values, context));
  }

  /** @throws `NOT_FOUND` where the server says that there is no such table. */
  private async guarded<R>(schema: VectorSchema, context: OperationContext, work: () => Promise<R>): Promise<R> {
    const earlier = context.session?.failure;
    try {
      return await work();
    } catch (error) {
      throw collectionFault(error, earlier, schema.name, this.name);
    }
  }
}

function isPostgresPool(pool: Pool | undefined): pool is PostgresDialectPool {
  return pool !== undefined && 'dialect' in pool && pool.dialect === 'postgres' && 'query' in pool;
}

export const pgvector: ProviderDriver = {
  name: 'pgvector',
  pooled: true,
  settings: {
    efSearch: {
      doc: 'How many candidates a search by HNSW keeps, up to 1,000: more are slower and miss less.',
      format: 'nat',
      default: EF_SEARCH,
    },
  },
  /** @throws `UNSUPPORTED` for a pool that does not speak PostgreSQL. */
  create(settings, { pool, name, clock }): VectorProvider {
    if (!isPostgresPool(pool))
      throw new UnsupportedError(
        'The vector provider pgvector needs PostgreSQL or PGlite: vectors.pgvector.database must name such a database',
        { component: name },
      );
    const { efSearch = EF_SEARCH } = settings as { efSearch?: number };
    return new PgVectorProvider(pool, name, efSearch, clock);
  },
};
