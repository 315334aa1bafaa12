/** Records in MongoDB: one collection each, one document a record, declared fields as indexes into its value. */
import type { CheckResult, OperationContext } from '../../component.js';
import { UnsupportedError } from '../../errors.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { Pool } from '../../pools/pool.js';
import type {
  AggregateGroup,
  AggregateRequest,
  BackendDriver,
  ClaimRequest,
  CountRequest,
  FindRequest,
  RecordBackend,
  RecordCapabilities,
  RecordKey,
  RecordSchema,
  Scope,
  Stored,
  TenantScope,
  UpdateRequest,
  Write,
  WriteResult,
} from '../backend.js';
import { LIMITS } from '../limits.js';
import type { BackendOperations } from '../operations.js';
import { aggregate } from './aggregate.js';
import { claim } from './claim.js';
import { count, deleteMany, find, sweep } from './find.js';
import { bulkLoad } from './load.js';
import { mongoOperations } from './operations/index.js';
import { readKeys } from './read.js';
import { areThere, ensureCollections, settleCollection } from './schema.js';
import { updateMany } from './update.js';
import { writeAll } from './write.js';

class MongoBackend implements RecordBackend {
  constructor(
    readonly pool: MongoPool,
    readonly name: string,
  ) {}

  /** What the server can do is known when the pool is open. */
  get capabilities(): RecordCapabilities {
    const { transactions } = this.pool;
    return {
      transactions,
      savepoints: false,
      batch: transactions === 'none' ? 'ordered' : 'atomic',
      unique: true,
      text: true,
      durable: true,
      maxRecordBytes: LIMITS.recordBytes,
      maxBatchItems: LIMITS.batchItems,
      maxBatchBytes: LIMITS.batchBytes,
    };
  }

  get operations(): BackendOperations {
    return mongoOperations(this.pool);
  }

  /** Nothing of its own: the pool has its owner, and collections are made by `ensure`. */
  async open(): Promise<void> {}

  async check(): Promise<CheckResult> {
    return { status: 'healthy' };
  }

  async close(): Promise<void> {}

  ensure(collections: readonly RecordSchema[], context: OperationContext, patience?: number): Promise<void> {
    return ensureCollections(this.pool, collections, context, patience);
  }

  exists(collections: readonly RecordSchema[], context: OperationContext): Promise<boolean> {
    return areThere(this.pool, collections, context);
  }

  settle(collection: RecordSchema, dryRun: boolean, context: OperationContext): Promise<string[]> {
    return settleCollection(this.pool, collection, dryRun, context);
  }

  read(scope: TenantScope, keys: readonly RecordKey[], context: OperationContext): Promise<(Stored | undefined)[]> {
    return readKeys(this.pool, scope.tenant, keys, context);
  }

  write(scope: TenantScope, writes: readonly Write[], context: OperationContext): Promise<WriteResult[]> {
    return writeAll(this.pool, scope.tenant, writes, context);
  }

  find(scope: Scope, request: FindRequest, context: OperationContext): Promise<Stored[]> {
    return this.pool.read('find', context, (use) => find(use, scope, request, context.now));
  }

  count(scope: Scope, request: CountRequest, context: OperationContext): Promise<number> {
    return this.pool.read('count', context, (use) => count(use, scope, request, context.now));
  }

  sweep(collection: RecordSchema, before: Date, limit: number, context: OperationContext): Promise<number> {
    return this.pool.run('sweep', context, (use) => sweep(use, collection, before, limit));
  }

  deleteMany(
    scope: Scope,
    request: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
    context: OperationContext,
  ): Promise<number> {
    return this.pool.write('deleteMany', context, (use) => deleteMany(use, scope, request, context.now));
  }

  updateMany(scope: Scope, request: UpdateRequest, context: OperationContext): Promise<number> {
    return updateMany(this.pool, scope, request, context);
  }

  claim(scope: Scope, request: ClaimRequest, context: OperationContext): Promise<Stored[]> {
    return this.pool.write('claim', context, (use) => claim(use, scope, request, context.now));
  }

  aggregate(scope: Scope, request: AggregateRequest, context: OperationContext): Promise<AggregateGroup[]> {
    return this.pool.read('aggregate', context, (use) => aggregate(use, scope, request, context.now));
  }

  /** All or none needs a transaction. */
  get bulkLoad(): RecordBackend['bulkLoad'] {
    if (this.pool.transactions === 'none') return undefined;
    return (scope, writes, context) => bulkLoad(this.pool, scope.tenant, writes, context);
  }
}

function isMongoPool(pool: Pool): pool is MongoPool {
  return pool.raw?.language === 'mongo' && 'run' in pool && 'transactions' in pool;
}

export const mongo: BackendDriver = {
  name: 'mongo',
  /** @throws `UNSUPPORTED` for a pool that does not speak MongoDB's protocol. */
  create(pool: Pool, name: string): RecordBackend {
    if (!isMongoPool(pool))
      throw new UnsupportedError(`The backend mongo needs a MongoDB pool; ${pool.name} is none`, { component: name });
    return new MongoBackend(pool, name);
  },
};
