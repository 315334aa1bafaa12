/** The memory backend: the record contract said in code. Every other backend must answer as this one does. */
import type { CheckResult, OperationContext } from '../component.js';
import { ConflictError, UnsupportedError } from '../errors.js';
import { placeOf, type Range, type SortKey } from '../filter/cursor.js';
import { compareScalars, compareText, evaluate, recordField, recordSubject } from '../filter/evaluate.js';
import type { Scalar } from '../filter/syntax.js';
import { valueAt } from '../filter/json.js';
import type { MemoryPool, MemoryView } from '../pools/memory.js';
import type { Pool } from '../pools/pool.js';
import type {
  BackendDriver,
  CountRequest,
  FindRequest,
  JsonObject,
  RecordBackend,
  RecordCapabilities,
  RecordKey,
  RecordSchema,
  Scope,
  Stored,
  TenantScope,
  Write,
  WriteResult,
} from './backend.js';
import { LIMITS } from './limits.js';
import type { BackendOperations, CollectionStats, DatabaseStats } from './operations.js';
import { isRefused, planWrite, withSkipped } from './plan.js';
import { copyJson, jsonBytes } from './value.js';
import { inWriteOrder } from './write-order.js';

class Unwritten extends Error {
  constructor(readonly results: WriteResult[]) {
    super('A condition of the batch failed');
  }
}

class MemoryBackend implements RecordBackend {
  readonly capabilities: RecordCapabilities = {
    transactions: 'serializable',
    savepoints: true,
    batch: 'atomic',
    unique: true,
    text: true,
    durable: false,
    maxRecordBytes: LIMITS.recordBytes,
    maxBatchItems: LIMITS.batchItems,
    maxBatchBytes: LIMITS.batchBytes,
  };

  readonly operations: BackendOperations = {
    stats: (_options, context) => this.pool.run(context, statsOf),
  };

  constructor(
    readonly pool: MemoryPool,
    readonly name: string,
  ) {}

  async open(): Promise<void> {}
  async close(): Promise<void> {}
  async ensure(): Promise<void> {}

  async check(): Promise<CheckResult> {
    return { status: 'healthy' };
  }

  async read(
    scope: TenantScope,
    keys: readonly RecordKey[],
    context: OperationContext,
  ): Promise<(Stored | undefined)[]> {
    return this.pool.run(context, (view) => keys.map((key) => copyOut(live(view, scope.tenant, key, context.now))));
  }

  async write(scope: TenantScope, writes: readonly Write[], context: OperationContext): Promise<WriteResult[]> {
    try {
      return await this.pool.run(context, (view) => {
        const planned = writes.map((write) => {
          const current = live(view, scope.tenant, write, context.now);
          return planWrite(current, scope.tenant, write, context.now);
        });
        const results = planned.map(({ result }) => result);
        if (results.some(isRefused)) throw new Unwritten(results);
        const rows = planned.map(({ row }) => row);
        for (const i of inWriteOrder(writes)) {
          const { collection, id } = writes[i]!;
          const row = copyOut(rows[i]);
          if (row !== undefined) checkUnique(view, collection, row, context.now);
          view.put(collection.name, scope.tenant, id, row);
        }
        return results.map(copyResult);
      });
    } catch (error) {
      if (error instanceof Unwritten) return withSkipped(error.results);
      if (error instanceof ConflictError && context.session !== undefined) context.session.failure ??= error;
      throw error;
    }
  }

  async find(scope: Scope, request: FindRequest, context: OperationContext): Promise<Stored[]> {
    const { sort, ranges, limit } = request;
    const rows = await this.matching(scope, request, context);
    const inRange = ranges === undefined ? rows : rows.filter((row) => ranges.some((range) => isInRange(row, range)));
    return inRange
      .sort((a, b) => compareRecords(a, b, sort))
      .slice(0, limit)
      .map((row) => copyOut(row)!);
  }

  async count(scope: Scope, request: CountRequest, context: OperationContext): Promise<number> {
    return Math.min((await this.matching(scope, request, context)).length, request.limit ?? Infinity);
  }

  async sweep(collection: RecordSchema, before: Date, limit: number, context: OperationContext): Promise<number> {
    return this.pool.run(context, (view) => {
      const expired = view.scan(collection.name, undefined, (row) => {
        const { expiresAt } = row as Stored;
        return expiresAt !== undefined && expiresAt <= before;
      }) as Stored[];
      const swept = expired.slice(0, limit);
      for (const row of swept) view.put(collection.name, row.tenant, row.id, undefined);
      return swept.length;
    });
  }

  private matching(
    scope: Scope,
    { collection, filter }: Pick<FindRequest, 'collection' | 'filter'>,
    context: OperationContext,
  ): Promise<Stored[]> {
    const partition = scope === 'all' ? undefined : scope.tenant;
    const matches = (row: object): boolean =>
      isLive(row as Stored, context.now) && evaluate(filter, recordSubject(row as Stored, collection.text));
    return this.pool.run(context, (view) => view.scan(collection.name, partition, matches) as Stored[]);
  }
}

/** Bytes are those of the values as JSON: what the process takes for them is its own. */
function statsOf(view: MemoryView): DatabaseStats {
  // What keeps vectors in the same memory has a colon in its names.
  const own = view.tables().filter((name) => !name.includes(':'));
  const collections = own.map((collection): CollectionStats => {
    const rows = view.scan(collection, undefined, () => true) as Stored[];
    const bytes = rows.reduce((sum, row) => sum + jsonBytes(row.value), 0);
    return { collection, records: rows.length, exact: true, bytes, indexBytes: 0 };
  });
  return { collections: collections.sort((a, b) => compareText(a.collection, b.collection)) };
}

function isLive(row: Stored, now: Date): boolean {
  return row.expiresAt === undefined || row.expiresAt > now;
}

function live(view: MemoryView, tenant: string, key: RecordKey, now: Date): Stored | undefined {
  const row = view.get(key.collection.name, tenant, key.id) as Stored | undefined;
  return row !== undefined && isLive(row, now) ? row : undefined;
}

function copyOut(row: Stored | undefined): Stored | undefined {
  if (row === undefined) return undefined;
  const { createdAt, updatedAt, expiresAt } = row;
  const dates = { createdAt: new Date(createdAt), updatedAt: new Date(updatedAt) };
  const copy = { ...row, ...dates, value: copyJson(row.value) };
  return expiresAt === undefined ? copy : { ...copy, expiresAt: new Date(expiresAt) };
}

function copyResult(result: WriteResult): WriteResult {
  return 'record' in result ? { ...result, record: copyOut(result.record)! } : result;
}

/** A constraint is broken by another live record, as the batch has left it so far. */
function checkUnique(view: MemoryView, collection: RecordSchema, row: Stored, now: Date): void {
  for (const constraint of collection.unique) {
    const key = uniqueKey(row.value, constraint.fields);
    if (key === undefined) continue;
    const holds = (other: Stored): boolean =>
      other.id !== row.id && isLive(other, now) && uniqueKey(other.value, constraint.fields) === key;
    if (view.scan(collection.name, row.tenant, (other) => holds(other as Stored)).length > 0)
      throw new ConflictError(
        'ALREADY_EXISTS',
        `Another record of ${collection.name} has the values of the unique constraint ${constraint.name}`,
        { operation: 'write', details: { constraint: constraint.name, collection: collection.name } },
      );
  }
}

function uniqueKey(value: JsonObject, fields: readonly string[]): string | undefined {
  const parts = fields.map((field) => valueAt(value, field.split('.')));
  return parts.some((part) => part === undefined || part === null) ? undefined : JSON.stringify(parts);
}

function isInRange(row: Stored, range: Range): boolean {
  if (!range.equal.every(([key, value]) => compareScalars(sortValue(row, key), value) === 0)) return false;
  const { last } = range;
  const value = sortValue(row, last.key);
  if (last.op === 'isNull') return value === null;
  if (value === null) return false;
  if (last.op === 'notNull') return true;
  const order = compareScalars(value, last.value);
  return last.op === 'gt' ? order > 0 : order < 0;
}

function sortValue(row: Stored, key: SortKey): Scalar {
  return placeOf(key, recordField(row, key));
}

function compareRecords(a: Stored, b: Stored, sort: readonly SortKey[]): number {
  for (const key of sort) {
    const order = compareScalars(sortValue(a, key), sortValue(b, key));
    if (order !== 0) return key.direction === 'asc' ? order : -order;
  }
  return compareText(a.tenant, b.tenant);
}

export const memory: BackendDriver = {
  name: 'memory',
  create(pool: Pool, name: string): RecordBackend {
    if (!('run' in pool))
      throw new UnsupportedError('The memory backend runs on a memory: database only', { component: name });
    return new MemoryBackend(pool as MemoryPool, name);
  },
};
