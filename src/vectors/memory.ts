/**
 * Vectors in this process, over the memory pool and in its transactions. Every search is exact: the oracle that the other
 * providers are held to. Nothing is kept when the process ends.
 */
import type { CheckResult, OperationContext } from '../component.js';
import { NotFoundError, UnsupportedError } from '../errors.js';
import { compareText } from '../filter/evaluate.js';
import type { MemoryPool, MemoryView } from '../pools/memory.js';
import { matchesMetadata } from './codec/filter.js';
import { VECTOR_LIMITS as LIMITS } from './codec/limits.js';
import { checkSameSchema, METRICS, sameSchema } from './codec/schema.js';
import { scoreOf } from './codec/score.js';
import { copySparse, sparseDot } from './codec/sparse.js';
import { searchedWords } from './codec/text.js';
import type {
  CompiledFilter,
  FetchedVector,
  FlatMetadata,
  MetadataLeaf,
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

/** The pool's tables: collections of records never have a colon in their names. */
const CATALOGUE = 'vectors:';
const tableOf = (name: string): string => `vectors:${name}`;
const partitionOf = ({ tenant, namespace }: VectorScope): string => JSON.stringify([tenant, namespace]);
/** Keys of the pool hold no control characters; ids may. */
const keyOf = (id: string): string => JSON.stringify(id);

class MemoryProvider implements VectorProvider {
  readonly capabilities: VectorCapabilities = {
    metrics: METRICS,
    exact: true,
    operators: { stringRange: true, notRange: 'always' },
    metadataDigits: 17,
    deleteCount: true,
    listOrder: 'id',
    text: true,
    sparse: true,
    consistency: 'immediate',
    transactions: true,
    durable: false,
    maxDimension: LIMITS.dimension,
    maxTopK: LIMITS.topK,
    maxBatch: LIMITS.batchItems,
    maxMetadataBytes: LIMITS.metadataBytes,
  };

  constructor(
    readonly pool: MemoryPool,
    readonly name: string,
  ) {}

  async open(): Promise<void> {}
  async close(): Promise<void> {}

  async check(): Promise<CheckResult> {
    return { status: 'healthy' };
  }

  async createCollection(schema: VectorSchema, context: OperationContext): Promise<void> {
    if (schema.text !== undefined && schema.text.language !== 'simple')
      throw new UnsupportedError(`text.language: only simple, not ${schema.text.language}`, { component: this.name });
    return this.pool.run(context, (view) => {
      const known = view.get(CATALOGUE, '', schema.name) as VectorSchema | undefined;
      if (known === undefined) return view.put(CATALOGUE, '', schema.name, schema);
      checkSameSchema(known, schema, this.name);
    });
  }

  describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    return this.pool.run(context, (view) => view.get(CATALOGUE, '', name) as VectorSchema | undefined);
  }

  listCollections(context: OperationContext): Promise<string[]> {
    return this.pool.run(context, (view) =>
      view
        .scan(CATALOGUE, '', () => true)
        .map((schema) => (schema as VectorSchema).name)
        .sort(compareText),
    );
  }

  deleteCollection(name: string, context: OperationContext): Promise<boolean> {
    return this.pool.run(context, (view) => {
      if (view.get(CATALOGUE, '', name) === undefined) return false;
      view.put(CATALOGUE, '', name, undefined);
      for (const row of view.scan(tableOf(name), undefined, () => true) as Row[])
        view.put(tableOf(name), row.partition, keyOf(row.id), undefined);
      return true;
    });
  }

  upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<Record<string, never>> {
    const partition = partitionOf(scope);
    return this.inCollection(schema, context, (view) => {
      for (const record of records)
        view.put(tableOf(schema.name), partition, keyOf(record.id), { ...copy(record), partition });
      return {};
    });
  }

  fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
  ): Promise<(FetchedVector | undefined)[]> {
    return this.inCollection(schema, context, (view) =>
      ids.map((id) => {
        const row = view.get(tableOf(schema.name), partitionOf(scope), keyOf(id)) as Row | undefined;
        return row === undefined ? undefined : reduced(row, include);
      }),
    );
  }

  async list(
    schema: VectorSchema,
    scope: VectorScope,
    { filter, limit, after, include }: VectorList,
    context: OperationContext,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    const rows = await this.matching(schema, scope, filter, context);
    const following = rows
      .filter(({ id }) => after === undefined || compareText(id, after) > 0)
      .sort((a, b) => compareText(a.id, b.id));
    const items = following.slice(0, limit).map((row) => reduced(row, include));
    return following.length > limit ? { items, next: items.at(-1)!.id } : { items };
  }

  async count(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<number> {
    return (await this.matching(schema, scope, filter, context)).length;
  }

  delete(
    schema: VectorSchema,
    scope: VectorScope,
    selection: VectorSelection,
    context: OperationContext,
  ): Promise<{ deleted: number }> {
    const table = tableOf(schema.name);
    const partition = partitionOf(scope);
    return this.inCollection(schema, context, (view) => {
      const ids =
        'ids' in selection
          ? selection.ids.filter((id) => view.get(table, partition, keyOf(id)) !== undefined)
          : scan(view, schema, scope, 'filter' in selection ? selection.filter : undefined).map(({ id }) => id);
      for (const id of ids) view.put(table, partition, keyOf(id), undefined);
      return { deleted: ids.length };
    });
  }

  async search(
    schema: VectorSchema,
    scope: VectorScope,
    { vector, sparse, topK, filter, include }: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const rows = await this.matching(schema, scope, filter, context);
    return rows
      .map((row) => ({ row, score: scoreOf(schema.metric, row.vector, vector) + sparseDot(row.sparse, sparse) }))
      .filter(({ score }) => score !== 0 || schema.dimension > 0)
      .sort((a, b) => b.score - a.score || compareText(a.row.id, b.row.id))
      .slice(0, topK)
      .map(({ row, score }) => ({ ...reduced(row, include), score }));
  }

  async explain(): Promise<SearchExplanation> {
    return { scan: 'exact', completed: false, plan: 'Compares with every record that matches' };
  }

  /** The score is how often the words occur. */
  async searchText(
    schema: VectorSchema,
    scope: VectorScope,
    { words, topK, filter, include }: TextSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const wanted = new Set(words);
    const rows = await this.matching(schema, scope, filter, context);
    return rows
      .map((row) => ({ row, met: searchedWords(row.text ?? '').filter((word) => wanted.has(word)) }))
      .filter(({ met }) => new Set(met).size === wanted.size)
      .sort((a, b) => b.met.length - a.met.length || compareText(a.row.id, b.row.id))
      .slice(0, topK)
      .map(({ row, met }) => ({ ...reduced(row, include), score: met.length }));
  }

  private matching(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<Row[]> {
    return this.inCollection(schema, context, (view) => scan(view, schema, scope, filter));
  }

  /** @throws `NOT_FOUND` when the collection is not there, or is declared otherwise. */
  private inCollection<R>(schema: VectorSchema, context: OperationContext, work: (view: MemoryView) => R): Promise<R> {
    return this.pool.run(context, (view) => {
      const known = view.get(CATALOGUE, '', schema.name) as VectorSchema | undefined;
      if (known === undefined || !sameSchema(known, schema))
        throw new NotFoundError(`There is no vector collection ${schema.name}`, {
          component: this.name,
          details: { collection: schema.name },
        });
      return work(view);
    });
  }
}

interface Row extends StoredVector {
  readonly partition: string;
}

function scan(view: MemoryView, schema: VectorSchema, scope: VectorScope, filter: CompiledFilter | undefined): Row[] {
  const matches = (row: object): boolean => filter === undefined || matchesMetadata(filter.tree, (row as Row).metadata);
  return view.scan(tableOf(schema.name), partitionOf(scope), matches) as Row[];
}

function copy(record: StoredVector): StoredVector {
  const sparse = record.sparse === undefined ? {} : { sparse: copySparse(record.sparse) };
  return { ...record, ...sparse, vector: new Float32Array(record.vector), metadata: copyMetadata(record.metadata) };
}

function copyMetadata(metadata: FlatMetadata): FlatMetadata {
  const leaves = Object.entries(metadata).map(([key, leaf]): [string, MetadataLeaf] => [
    key,
    typeof leaf === 'object' ? [...leaf] : leaf,
  ]);
  return Object.fromEntries(leaves);
}

function reduced({ id, vector, sparse, metadata, text }: StoredVector, include: VectorInclude): FetchedVector {
  return {
    id,
    ...(include.vector ? { vector: new Float32Array(vector) } : {}),
    ...(include.vector && sparse !== undefined ? { sparse: copySparse(sparse) } : {}),
    ...(include.metadata ? { metadata: copyMetadata(metadata) } : {}),
    ...(include.text && text !== undefined ? { text } : {}),
  };
}

export const memory: ProviderDriver = {
  name: 'memory',
  pooled: true,
  /** @throws `UNSUPPORTED` for a pool other than the memory engine. */
  create(_settings, { pool, name }): VectorProvider {
    if (pool === undefined || !('run' in pool))
      throw new UnsupportedError(
        "The vector provider memory runs on a memory: database only: name one in vectors.memory.database (databases: { side: 'memory:' })",
        { component: name },
      );
    return new MemoryProvider(pool as MemoryPool, name);
  },
};
