/** Vectors in a Chroma server of one's own, through the package `chromadb`. */
import type { CheckResult, OpenContext, OperationContext } from '../component.js';
import { malformedCursor } from '../filter/cursor.js';
import { Catalogue } from './chroma/catalogue.js';
import { Connection } from './chroma/connection.js';
import { compileFilter, EVERY } from './chroma/filter.js';
import { Parts } from './chroma/parts.js';
import { countRecords, deleteIds, deleteMatching, getRecords, upsertRecords } from './chroma/records.js';
import { searchRecords } from './chroma/search.js';
import { readOptions, settings, type ChromaOptions } from './chroma/settings.js';
import { VECTOR_LIMITS as LIMITS } from './codec/limits.js';
import { METRICS } from './codec/schema.js';
import type {
  CompiledFilter,
  FetchedVector,
  ProviderDriver,
  ProviderEnvironment,
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

class ChromaProvider implements VectorProvider {
  readonly name: string;
  private readonly connection: Connection;
  private readonly catalogue: Catalogue;
  private readonly parts: Parts;

  constructor(options: ChromaOptions, environment: ProviderEnvironment) {
    this.name = environment.name;
    this.connection = new Connection(options, environment);
    this.catalogue = new Catalogue(this.connection, this.name);
    this.parts = new Parts(this.connection, this.catalogue, this.name, environment.clock);
  }

  get capabilities(): VectorCapabilities {
    return {
      metrics: METRICS,
      exact: false,
      operators: { stringRange: false, notRange: 'always' },
      // The server reads fractions from its log imprecisely: beyond 15 digits they may come back as a neighbour.
      metadataDigits: 15,
      deleteCount: true,
      listOrder: 'insertion',
      text: false,
      sparse: false,
      consistency: 'immediate',
      transactions: false,
      durable: true,
      maxDimension: LIMITS.dimension,
      maxTopK: LIMITS.topK,
      maxBatch: this.connection.maxBatch,
      maxMetadataBytes: LIMITS.metadataBytes,
    };
  }

  open(context: OpenContext): Promise<void> {
    return this.connection.open(context);
  }

  check(signal: AbortSignal): Promise<CheckResult> {
    return this.connection.check(signal);
  }

  close(deadline: number): Promise<void> {
    return this.connection.close(deadline);
  }

  createCollection(schema: VectorSchema, context: OperationContext): Promise<void> {
    return this.parts.create(schema, context);
  }

  async describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    return (await this.catalogue.root(name, context, 'describeCollection'))?.schema;
  }

  listCollections(context: OperationContext): Promise<string[]> {
    return this.catalogue.list(context);
  }

  deleteCollection(name: string, context: OperationContext): Promise<boolean> {
    return this.parts.deleteAll(name, context);
  }

  async upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<Record<string, never>> {
    await this.parts.write(schema, scope, context, 'upsert', (id) =>
      upsertRecords(this.connection, id, records, context),
    );
    return {};
  }

  async fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
  ): Promise<(FetchedVector | undefined)[]> {
    const records = await this.parts.read<FetchedVector[]>(schema, scope, context, 'fetch', [], (id) =>
      getRecords(this.connection, id, { ids: [...ids] }, include, context, 'fetch'),
    );
    const found = new Map(records.map((record) => [record.id, record]));
    return ids.map((id) => found.get(id));
  }

  /** The cursor is a number of records: the server keeps the order of insertion, and pages by no other position. */
  async list(
    schema: VectorSchema,
    scope: VectorScope,
    { filter, limit, after, include }: VectorList,
    context: OperationContext,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    const offset = after === undefined ? 0 : readPosition(after);
    const selection = { ...this.where(filter), limit: limit + 1, offset };
    const found = await this.parts.read<FetchedVector[]>(schema, scope, context, 'list', [], (id) =>
      getRecords(this.connection, id, selection, include, context, 'list'),
    );
    const items = found.slice(0, limit);
    return found.length > limit ? { items, next: String(offset + limit) } : { items };
  }

  async count(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<number> {
    const { where } = this.where(filter);
    return this.parts.read(schema, scope, context, 'count', 0, (id) =>
      countRecords(this.connection, id, where, context),
    );
  }

  async delete(
    schema: VectorSchema,
    scope: VectorScope,
    selection: VectorSelection,
    context: OperationContext,
  ): Promise<{ deleted?: number }> {
    const { connection } = this;
    const { where } = this.where('filter' in selection ? selection.filter : undefined);
    const deleted = await this.parts.read<number | undefined>(schema, scope, context, 'delete', 0, async (id) => {
      if (!('ids' in selection)) return deleteMatching(connection, id, where ?? EVERY, context, 'delete');
      await deleteIds(connection, id, selection.ids, context);
      return undefined;
    });
    return deleted === undefined ? {} : { deleted };
  }

  async search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const { where } = this.where(request.filter);
    return this.parts.read<ScoredVector[]>(schema, scope, context, 'search', [], (id) =>
      searchRecords(this.connection, id, where, schema, request, context),
    );
  }

  private where(filter: CompiledFilter | undefined): { readonly where?: ReturnType<typeof compileFilter> } {
    return filter === undefined ? {} : { where: compileFilter(filter, this.name) };
  }
}

/** What `list` gave as `next`; a cursor is text that comes back from outside. */
function readPosition(after: string): number {
  if (!/^\d{1,15}$/.test(after)) throw malformedCursor();
  return Number(after);
}

export const chroma: ProviderDriver = {
  name: 'chroma',
  settings,
  tests: [{ name: 'chroma', variable: 'TEST_CHROMA_URL' }],
  /** @throws `CONFIGURATION`; `UNSUPPORTED` for Chroma Cloud. */
  create: (given, environment): VectorProvider => new ChromaProvider(readOptions(given, environment.name), environment),
};
