/** Records in SQL: one table a collection, values as JSON, declared fields as expression indexes. */
import type { CheckResult, OperationContext } from '../../component.js';
import { UnsupportedError } from '../../errors.js';
import type { Pool, SqlPool } from '../../pools/pool.js';
import type {
  BackendDriver,
  FindRequest,
  RecordBackend,
  RecordCapabilities,
  RecordKey,
  RecordSchema,
  Scope,
  Stored,
  TenantScope,
  Write,
  WriteResult,
} from '../backend.js';
import { LIMITS } from '../limits.js';
import { countStatement, deleteManyStatement, findStatement, sweepStatement, type Statement } from './find.js';
import { readKeys } from './read.js';
import { readRow } from './row.js';
import { ensureTables } from './schema.js';
import { writeAll } from './write.js';

class SqlBackend implements RecordBackend {
  constructor(
    readonly pool: SqlPool,
    readonly name: string,
  ) {}

  get capabilities(): RecordCapabilities {
    return {
      transactions: 'serializable',
      batch: 'atomic',
      unique: true,
      text: true,
      durable: this.pool.durable,
      maxRecordBytes: LIMITS.recordBytes,
      maxBatchItems: LIMITS.batchItems,
      maxBatchBytes: LIMITS.batchBytes,
    };
  }

  /** Nothing of its own: the pool has its owner, and tables are made by `ensure`. */
  async open(): Promise<void> {}

  async check(): Promise<CheckResult> {
    return { status: 'healthy' };
  }

  async close(): Promise<void> {}

  ensure(collections: readonly RecordSchema[], context: OperationContext): Promise<void> {
    return ensureTables(this.pool, collections, context);
  }

  read(scope: TenantScope, keys: readonly RecordKey[], context: OperationContext): Promise<(Stored | undefined)[]> {
    return readKeys(this.pool, scope.tenant, keys, context);
  }

  write(scope: TenantScope, writes: readonly Write[], context: OperationContext): Promise<WriteResult[]> {
    return writeAll(this.pool, scope.tenant, writes, context);
  }

  async find(scope: Scope, request: FindRequest, context: OperationContext): Promise<Stored[]> {
    const { rows } = await this.run(findStatement(scope, request, context.now), context);
    return rows.map((row) =>
      readRow(row, scope === 'all' ? (row['tenant'] as string) : scope.tenant, row['id'] as string),
    );
  }

  async count(
    scope: Scope,
    request: Pick<FindRequest, 'collection' | 'filter'>,
    context: OperationContext,
  ): Promise<number> {
    const { rows } = await this.run(countStatement(scope, request, context.now), context);
    return Number(rows[0]?.['count']);
  }

  async sweep(collection: RecordSchema, before: Date, limit: number, context: OperationContext): Promise<number> {
    return (await this.run(sweepStatement(collection.name, before, limit), context)).affected;
  }

  async deleteMany(
    scope: Scope,
    request: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
    context: OperationContext,
  ): Promise<number> {
    return (await this.run(deleteManyStatement(scope, request, context.now), context)).affected;
  }

  private run({ text, parameters }: Statement, context: OperationContext): ReturnType<SqlPool['query']> {
    return this.pool.query(text, parameters.values, context);
  }
}

function isSqlPool(pool: Pool): pool is SqlPool {
  return 'dialect' in pool && 'query' in pool;
}

export const sql: BackendDriver = {
  name: 'sql',
  /** @throws `UNSUPPORTED` for a pool that does not speak PostgreSQL's SQL. */
  create(pool: Pool, name: string): RecordBackend {
    if (!isSqlPool(pool) || pool.dialect !== 'postgres')
      throw new UnsupportedError(`The backend sql needs a pool that speaks PostgreSQL; ${pool.name} does not`, {
        component: name,
      });
    return new SqlBackend(pool, name);
  },
};
