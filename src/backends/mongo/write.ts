/** Writes: one or a batch, in a session, in a transaction of their own, or one after another where there is none. */
import { sleep, type Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isSerializationFailure, isStorageError } from '../../errors.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { Stored, Write, WriteResult } from '../backend.js';
import { isRefused } from '../plan.js';
import { writePlanned } from './batch.js';
import { ID_INDEX } from './fault.js';
import { writeOne } from './single.js';
import { dropExpired, uniqueError } from './unique.js';

/** How often a batch is tried that lost against other writes. */
const ATTEMPTS = 30;

export async function writeAll(
  pool: MongoPool,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  if (writes.length === 0) return [];
  const { now } = context;
  if (context.session !== undefined)
    return pool.write('write', context, (use) => writePlanned(use, tenant, writes, now));
  if (writes.length > 1 && pool.transactions !== 'none') return writeBatch(pool, tenant, writes, context);
  const results: WriteResult[] = [];
  for (const write of writes) {
    if (results.some(isRefused)) results.push({ status: 'skipped' });
    else results.push(await pool.write('write', context, (use) => writeUnique(use, tenant, write, now)));
  }
  return results;
}

/** Runs `work` in a transaction of its own, and again when it lost against other writes. */
export async function inTransaction<R>(
  pool: MongoPool,
  operation: string,
  context: OperationContext,
  work: (use: MongoUse) => Promise<R>,
): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await pool.transaction({ context, isolation: 'snapshot' }, (session) =>
        pool.write(operation, { ...context, session }, work),
      );
    } catch (error) {
      if (!isSerializationFailure(error) || attempt === ATTEMPTS) throw error;
      await pause(pool.clock, attempt, context);
    }
  }
}

function pause(clock: Clock, attempt: number, { signal }: OperationContext): Promise<void> {
  return sleep(clock, Math.random() * Math.min(2 ** attempt, 100), signal);
}

async function writeBatch(
  pool: MongoPool,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { now } = context;
  const attempt = (): Promise<WriteResult[]> =>
    inTransaction(pool, 'write', context, (use) => writePlanned(use, tenant, writes, now));
  try {
    return await attempt();
  } catch (error) {
    if (!isOfOthers(error)) throw error;
  }
  for (const collection of new Set(writes.map((write) => write.collection)))
    await pool.write('write', context, (use) => dropExpired(use, tenant, collection, undefined, now));
  return attempt();
}

/** Whether a constraint was met that only the declaration of another process has. */
function isOfOthers(error: unknown): boolean {
  return isStorageError(error, 'ALREADY_EXISTS') && 'index' in error.details;
}

/** A key may be held by an expired record that no sweep has met yet. */
async function writeUnique(use: MongoUse, tenant: string, write: Write, now: Date): Promise<WriteResult> {
  let row: Stored[] | undefined;
  try {
    return await writeOne(use, tenant, write, now);
  } catch (error) {
    const index = use.duplicateIndex(error);
    if (index === undefined || index === ID_INDEX) throw error;
    if (uniqueError(use, error, [write]) !== undefined) row = knownRow(tenant, write, now);
  }
  await dropExpired(use, tenant, write.collection, row, now);
  try {
    return await writeOne(use, tenant, write, now);
  } catch (error) {
    throw uniqueError(use, error, [write]) ?? error;
  }
}

/** The record after the write, where the write alone tells its value. */
function knownRow(tenant: string, write: Write, now: Date): Stored[] | undefined {
  if (write.kind === 'patch' || write.kind === 'delete') return undefined;
  const { id, value } = write;
  return [{ tenant, id, version: 1, createdAt: now, updatedAt: now, value }];
}
