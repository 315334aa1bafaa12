/** Vectors in Pinecone, through the package `@pinecone-database/pinecone`: serverless indexes of dense and of sparse vectors. */
import type { CheckResult, OpenContext, OperationContext } from '../component.js';
import { VECTOR_LIMITS as LIMITS } from './codec/limits.js';
import { METRICS } from './codec/schema.js';
import { Calls } from './pinecone/calls.js';
import { Connection } from './pinecone/connection.js';
import { Freshness } from './pinecone/freshness.js';
import { Indexes } from './pinecone/indexes.js';
import { Reads, targetOf } from './pinecone/reads.js';
import { recordFault } from './pinecone/record.js';
import { readOptions, settings, type PineconeOptions } from './pinecone/settings.js';
import { Writes } from './pinecone/writes.js';
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

class PineconeProvider implements VectorProvider {
  readonly name: string;
  readonly capabilities: VectorCapabilities = {
    metrics: METRICS,
    exact: false,
    operators: { stringRange: false, notRange: 'declared' },
    metadataDigits: 17,
    deleteCount: false,
    listOrder: 'none',
    text: false,
    sparse: true,
    consistency: 'session',
    transactions: false,
    durable: true,
    maxDimension: 20_000,
    maxTopK: 10_000,
    maxBatch: 1_000,
    maxMetadataBytes: LIMITS.metadataBytes,
  };
  private readonly connection: Connection;
  private readonly indexes: Indexes;
  private readonly freshness: Freshness;
  private readonly reads: Reads;
  private readonly writes: Writes;

  constructor(options: PineconeOptions, environment: ProviderEnvironment) {
    this.name = environment.name;
    this.connection = new Connection(options, environment);
    this.indexes = new Indexes(this.connection);
    this.freshness = new Freshness(this.name, environment.clock);
    const calls = new Calls(this.connection, this.indexes);
    this.reads = new Reads(calls, this.freshness);
    this.writes = new Writes(calls, this.reads, this.freshness);
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

  settle(context: OperationContext): Promise<void> {
    return this.reads.settle(context);
  }

  createCollection(schema: VectorSchema, context: OperationContext): Promise<void> {
    return this.indexes.create(schema, context);
  }

  describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    return this.indexes.describe(name, context);
  }

  listCollections(context: OperationContext): Promise<string[]> {
    return this.indexes.list(context);
  }

  async deleteCollection(name: string, context: OperationContext): Promise<boolean> {
    const deleted = await this.indexes.delete(name, context);
    this.freshness.forget(name);
    return deleted;
  }

  readonly recordFault = recordFault;

  upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<{ token?: string }> {
    return this.writes.upsert(targetOf(schema, scope, 'upsert', context), records);
  }

  fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
    consistency: VectorSearch['consistency'] = 'eventual',
  ): Promise<(FetchedVector | undefined)[]> {
    return this.reads.fetch(targetOf(schema, scope, 'fetch', context), ids, include, consistency);
  }

  list(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorList,
    context: OperationContext,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    return this.reads.list(targetOf(schema, scope, 'list', context), request);
  }

  count(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<number> {
    return this.reads.count(targetOf(schema, scope, 'count', context), filter);
  }

  async delete(
    schema: VectorSchema,
    scope: VectorScope,
    selection: VectorSelection,
    context: OperationContext,
  ): Promise<Record<string, never>> {
    await this.writes.delete(targetOf(schema, scope, 'delete', context), selection);
    return {};
  }

  search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    return this.reads.search(targetOf(schema, scope, 'search', context), request);
  }
}

export const pinecone: ProviderDriver = {
  name: 'pinecone',
  settings,
  tests: [{ name: 'pinecone', variable: 'PINECONE_API_KEY', setting: 'apiKey' }],
  /** @throws `CONFIGURATION` for what cannot be a key or an address. */
  create(given, environment): VectorProvider {
    return new PineconeProvider(readOptions(given, environment.name), environment);
  },
};
