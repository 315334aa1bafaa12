/** Records in SQL: one table a collection, values as JSON, declared fields as expression indexes. */
import type { CheckResult, OperationContext } from '../../component.js';
import { UnsupportedError } from '../../errors.js';
import type { Pool, SqlPool } from '../../pools/pool.js';
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
import type { BackendOperations } from '../operations.js';
import { LIMITS } from '../limits.js';
import { aggregateStatement, readGroups } from './aggregate.js';
import type { Database, Dialect, Row, Statement } from './dialect.js';
import { againAfterDeadlock } from '../../pools/deadlock.js';
import { countStatement, deleteManyStatement, findStatement, sweepStatement } from './find.js';
import { postgres } from './postgres/dialect.js';
import { readKeys } from './read.js';
import { readRows } from './row.js';
import { areThere } from './catalogue.js';
import { ensureTables, settleTable } from './schema.js';
import { sqlite } from './sqlite/dialect.js';
import { namedStatement } from './statement-names.js';

const DIALECTS = new Map<string, Dialect>([postgres, sqlite].map((dialect) => [dialect.name, dialect]));

class SqlBackend implements RecordBackend, Database {
  readonly bulkLoad?: NonNullable<RecordBackend['bulkLoad']>;

  constructor(
    readonly pool: SqlPool,
    readonly dialect: Dialect,
    readonly name: string,
  ) {
    // A pool of the host's own may have no bulk way in.
    if (dialect.load !== undefined && 'copyIn' in pool)
      this.bulkLoad = (scope, writes, context) => dialect.load!(this, scope.tenant, writes, context);
  }

  get capabilities(): RecordCapabilities {
    return {
      transactions: 'serializable',
      savepoints: true,
      batch: 'atomic',
      unique: true,
      text: true,
      durable: this.pool.durable,
      maxRecordBytes: LIMITS.recordBytes,
      maxBatchItems: LIMITS.batchItems,
      maxBatchBytes: LIMITS.batchBytes,
    };
  }

  get operations(): BackendOperations {
    return this.dialect.operations(this.pool);
  }

  /** Nothing of its own: the pool has its owner, and tables are made by `ensure`. */
  async open(): Promise<void> {}

  async check(): Promise<CheckResult> {
    return { status: 'healthy' };
  }

  async close(): Promise<void> {}

  ensure(collections: readonly RecordSchema[], context: OperationContext, patience?: number): Promise<void> {
    return ensureTables(this, collections, context, patience);
  }

  exists(collections: readonly RecordSchema[], context: OperationContext): Promise<boolean> {
    return areThere(this, collections, context);
  }

  settle(collection: RecordSchema, dryRun: boolean, context: OperationContext): Promise<string[]> {
    return settleTable(this, collection, dryRun, context);
  }

  read(scope: TenantScope, keys: readonly RecordKey[], context: OperationContext): Promise<(Stored | undefined)[]> {
    return readKeys(this, scope.tenant, keys, context);
  }

  async write(scope: TenantScope, writes: readonly Write[], context: OperationContext): Promise<WriteResult[]> {
    return writes.length === 0 ? [] : this.dialect.write(this, scope.tenant, writes, context);
  }

  async find(scope: Scope, request: FindRequest, context: OperationContext): Promise<Stored[]> {
    return readRows(this.dialect, scope, await this.findRows(scope, request, context));
  }

  async count(scope: Scope, request: CountRequest, context: OperationContext): Promise<number> {
    const { rows } = await this.run(countStatement(this.dialect, scope, request, context.now), context);
    return Number(rows[0]?.['count']);
  }

  async sweep(collection: RecordSchema, before: Date, limit: number, context: OperationContext): Promise<number> {
    const statement = sweepStatement(this.dialect, collection.name, before, limit);
    return (await againAfterDeadlock(context, () => this.run(statement, context))).affected;
  }

  async deleteMany(
    scope: Scope,
    request: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
    context: OperationContext,
  ): Promise<number> {
    const statement = deleteManyStatement(this.dialect, scope, request, context.now);
    // Locked in the order in which they are found: all that match would be sorted to lock the first of them by their ids.
    return (await againAfterDeadlock(context, () => this.run(statement, context))).affected;
  }

  updateMany(scope: Scope, request: UpdateRequest, context: OperationContext): Promise<number> {
    return this.dialect.updateMany(this, scope, request, context);
  }

  claim(scope: Scope, request: ClaimRequest, context: OperationContext): Promise<Stored[]> {
    return this.dialect.claim(this, scope, request, context);
  }

  async aggregate(scope: Scope, request: AggregateRequest, context: OperationContext): Promise<AggregateGroup[]> {
    const { rows } = await this.run(aggregateStatement(this.dialect, scope, request, context.now), context);
    return readGroups(request, rows);
  }

  private async findRows(scope: Scope, request: FindRequest, context: OperationContext): Promise<readonly Row[]> {
    const { ranges } = request;
    if (ranges?.length === 0) return [];
    if (ranges !== undefined && ranges.length > 1)
      return this.dialect.findRanges(this, scope, request, ranges, context);
    return (await this.run(findStatement(this.dialect, scope, request, ranges?.[0], context.now), context)).rows;
  }

  private run({ text, parameters }: Statement, context: OperationContext): ReturnType<SqlPool['query']> {
    return this.pool.query(text, parameters.values, context, namedStatement(this.pool, text));
  }
}

function isSqlPool(pool: Pool): pool is SqlPool {
  return 'dialect' in pool && 'query' in pool;
}

export const sql: BackendDriver = {
  name: 'sql',
  /** @throws `UNSUPPORTED` for a pool that speaks no SQL, or none of the dialects. */
  create(pool: Pool, name: string): RecordBackend {
    const dialect = isSqlPool(pool) ? DIALECTS.get(pool.dialect) : undefined;
    if (!isSqlPool(pool) || dialect === undefined)
      throw new UnsupportedError(
        `The backend sql needs a pool that speaks the SQL of ${[...DIALECTS.keys()].join(' or ')}; ${pool.name} does not`,
        { component: name },
      );
    return new SqlBackend(pool, dialect, name);
  },
};
