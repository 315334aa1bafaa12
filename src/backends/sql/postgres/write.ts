/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext } from '../../../component.js';
import { isStorageError, type StorageError } from '../../../errors.js';
import { alone } from '../../../pools/turn-queue.js';
import type { RecordSchema, Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { uniqueError } from '../unique.js';
import { namedStatement } from '../statement-names.js';
import { inserted, writeBatch } from './batch.js';
import { newRecordsStatement } from './batch-statement.js';
import { type Freeing, hasKey } from './expired.js';
import { writeOne } from './single.js';

export function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { session } = context;
  if (session !== undefined && writes.every(isUnquestioned)) return insertNew(database, tenant, writes, context);
  return writeUnique(database, writes, context, async (freeing, on) =>
    writes.length === 1
      ? [await writeOne(database, tenant, writes[0]!, freeing, on)]
      : writeBatch(database, tenant, writes, freeing, on),
  );
}

/** Whether nothing but a fault of the server can refuse it. */
function isUnquestioned(write: Write): boolean {
  return write.kind === 'insert' && write.isNew === true && !hasKey(write);
}

/** What they write is known, so a session goes on before the server has answered. */
async function insertNew(
  { pool }: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { text, parameters } = newRecordsStatement(tenant, writes, context.now);
  await pool.query(text, parameters.values, context, { ...namedStatement(pool, text, 'batch'), untold: true });
  return writes.map((write) => inserted(write, context.now));
}

/**
 * Runs what may meet the unique constraints of its targets. `work` is told who has to free keys of what has expired:
 * in a session beforehand, because a violation ends the transaction; else after a violation only.
 * @throws `ALREADY_EXISTS`, which fails the session.
 */
export async function writeUnique<R>(
  database: Database,
  targets: readonly { readonly collection: RecordSchema }[],
  context: OperationContext,
  work: (freeing: Freeing, context: OperationContext) => Promise<R>,
): Promise<R> {
  const faultOf = (fault: StorageError): StorageError => {
    const violation = uniqueViolation(fault);
    return violation === undefined ? fault : uniqueError(database.dialect, violation, targets, fault);
  };
  // A batch rolls back to its savepoint, and must undo nothing but itself.
  if (context.session !== undefined) return alone({ ...context, faultOf }, (on) => work('declared', on));
  try {
    return await work('none', context);
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
  }
  try {
    return await work('all', context);
  } catch (error) {
    throw isStorageError(error) ? faultOf(error) : error;
  }
}
