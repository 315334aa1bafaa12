/** The memory provider: exact search over every vector. Every other provider must answer as this one does. */
import type { CheckResult, OperationContext } from '../component.js';
import { ConflictError, NotFoundError, UnsupportedError } from '../errors.js';
import { compareText } from '../filter/evaluate.js';
import type { MemoryPool, MemoryView } from '../pools/memory.js';
import { VECTOR_LIMITS } from './codec.js';
import { evaluateFilter, vectorScore } from './evaluate.js';
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
} from './provider.js';

const CATALOGUE = 'qm_vectors';
const tableOf = (name: string): string => `qm_v_${name}`;
const partitionOf = ({ tenant, namespace }: VectorScope): string => `${tenant}\u001e${namespace}`;

class MemoryProvider implements VectorProvider {
  readonly capabilities: VectorCapabilities = {
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
    durable: false,
    maxDimension: 65_536,
    maxTopK: 10_000,
    maxBatch: 1_000,
    maxMetadataBytes: VECTOR_LIMITS.metadataBytes,
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

  createCollection(schema: VectorSchema, context: OperationContext): Promise<void> {
    return this.pool.run(context, (view) => {
      const other = view.get(CATALOGUE, '', schema.name) as VectorSchema | undefined;
      if (other === undefined) view.put(CATALOGUE, '', schema.name, structuredClone(schema));
      else if (canonical(other) !== canonical(schema))
        throw new ConflictError('CONFLICT', `The collection ${schema.name} exists with another declaration`, {
          component: this.name,
          details: { collection: schema.name },
        });
    });
  }

  describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    return this.pool.run(context, (view) => view.get(CATALOGUE, '', name) as VectorSchema | undefined);
  }

  listCollections(context: OperationContext): Promise<string[]> {
    return this.pool.run(context, (view) =>
      (view.scan(CATALOGUE, '', () => true) as VectorSchema[]).map(({ name }) => name).sort(compareText),
    );
  }

  deleteCollection(name: string, context: OperationContext): Promise<boolean> {
    return this.pool.run(context, (view) => {
      if (view.get(CATALOGUE, '', name) === undefined) return false;
      for (const row of view.scan(tableOf(name), undefined, () => true) as Row[])
        view.put(tableOf(name), row.partition, row.id, undefined);
      view.put(CATALOGUE, '', name, undefined);
      return true;
    });
  }

  async upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<{ token?: string }> {
    await this.pool.run(context, (view) => {
      this.require(view, schema);
      const partition = partitionOf(scope);
      for (const record of records) view.put(tableOf(schema.name), partition, record.id, { ...record, partition });
    });
    return {};
  }

  fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
  ): Promise<(FetchedVector | undefined)[]> {
    return this.pool.run(context, (view) => {
      this.require(view, schema);
      return ids.map((id) => {
        const row = view.get(tableOf(schema.name), partitionOf(scope), id) as Row | undefined;
        return row === undefined ? undefined : shown(row, include);
      });
    });
  }

  async list(
    schema: VectorSchema,
    scope: VectorScope,
    { filter, limit, after, include }: VectorList,
    context: OperationContext,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    const rows = (await this.matching(schema, scope, filter, context))
      .filter(({ id }) => after === undefined || compareText(id, after) > 0)
      .sort((a, b) => compareText(a.id, b.id));
    const items = rows.slice(0, limit).map((row) => shown(row, include));
    return rows.length > limit ? { items, next: items.at(-1)!.id } : { items };
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
  ): Promise<{ deleted?: number }> {
    return this.pool.run(context, (view) => {
      this.require(view, schema);
      const [table, partition] = [tableOf(schema.name), partitionOf(scope)];
      const doomed =
        'ids' in selection
          ? selection.ids.filter((id) => view.get(table, partition, id) !== undefined)
          : scan(view, schema, scope, 'filter' in selection ? selection.filter : undefined).map(({ id }) => id);
      for (const id of doomed) view.put(table, partition, id, undefined);
      return { deleted: doomed.length };
    });
  }

  async search(
    schema: VectorSchema,
    scope: VectorScope,
    { vector, topK, filter, include }: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const rows = await this.matching(schema, scope, filter, context);
    return rows
      .map((row) => ({ row, score: vectorScore(schema.metric, vector, row.vector) }))
      .sort((a, b) => b.score - a.score || compareText(a.row.id, b.row.id))
      .slice(0, topK)
      .map(({ row, score }) => ({ ...shown(row, include), score }));
  }

  private matching(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<Row[]> {
    return this.pool.run(context, (view) => {
      this.require(view, schema);
      return scan(view, schema, scope, filter);
    });
  }

  private require(view: MemoryView, { name }: VectorSchema): void {
    if (view.get(CATALOGUE, '', name) === undefined)
      throw new NotFoundError(`The vector collection ${name} is not there`, {
        component: this.name,
        details: { collection: name },
      });
  }
}

type Row = StoredVector & { readonly partition: string };

function scan(view: MemoryView, { name }: VectorSchema, scope: VectorScope, filter: CompiledFilter | undefined): Row[] {
  const matches = (row: object): boolean => filter === undefined || evaluateFilter(filter, (row as Row).metadata);
  return view.scan(tableOf(name), partitionOf(scope), matches) as Row[];
}

function shown({ id, vector, metadata, text }: Row, include: VectorInclude): FetchedVector {
  return {
    id,
    ...(include.vector ? { vector: Float32Array.from(vector) } : {}),
    ...(include.metadata ? { metadata: { ...metadata } } : {}),
    ...(include.text && text !== undefined ? { text } : {}),
  };
}

function canonical({ name, dimension, metric, fields, index }: VectorSchema): string {
  const sorted = (object: object): unknown => Object.entries(object).sort(([a], [b]) => compareText(a, b));
  return JSON.stringify([name, dimension, metric, sorted(fields), sorted(index)]);
}

export const memory: ProviderDriver = {
  name: 'memory',
  pooled: true,
  create(_settings, { pool, name }) {
    if (pool === undefined || !('run' in pool))
      throw new UnsupportedError(
        'The memory provider needs a database of the scheme memory: (its setting `database`)',
        {
          component: name,
        },
      );
    return new MemoryProvider(pool as MemoryPool, name);
  },
};
