/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext } from '../../../component.js';
import { isStorageError, type StorageError } from '../../../errors.js';
import { SessionQueue } from '../../../pools/session-queue.js';
import type { RecordSchema, Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { uniqueError } from '../unique.js';
import { namedStatement } from '../statement-names.js';
import { inserted, writeBatch } from './batch.js';
import { newRecordsStatement } from './batch-statement.js';
import { type Freeing, hasKey } from './expired.js';
import { writeOne } from './single.js';

/** A batch rolls back to its savepoint, and must undo nothing but itself: it runs alone, what is one statement does not. */
export const TURNS = new SessionQueue();

export function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { session } = context;
  if (session !== undefined && writes.every(isUnquestioned))
    return TURNS.share(session, context, () => insertNew(database, tenant, writes, context));
  const [first, ...others] = writes;
  if (others.length > 0)
    return writeUnique(database, writes, context, (freeing) => writeBatch(database, tenant, writes, freeing, context));
  const one = async (freeing: Freeing): Promise<WriteResult[]> => [
    await writeOne(database, tenant, first!, freeing, context),
  ];
  return writeUnique(database, writes, context, one, 'share');
}

/** Whether nothing but a fault of the server can refuse it. */
function isUnquestioned(write: Write): boolean {
  return write.kind === 'insert' && write.isNew === true && !hasKey(write);
}

/** What they write is known, so a session goes on before the server has answered. */
async function insertNew(
  { pool, dialect }: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { text, parameters } = newRecordsStatement(tenant, writes, context.now);
  // Another process may have declared a constraint.
  const ahead = (fault: StorageError): StorageError => {
    const violation = uniqueViolation(fault);
    return violation === undefined ? fault : uniqueError(dialect, violation, writes, fault);
  };
  try {
    await pool.query(text, parameters.values, context, { ...namedStatement(pool, text, 'batch'), ahead });
  } catch (error) {
    throw isStorageError(error, 'ALREADY_EXISTS') ? (context.session!.failure = ahead(error)) : error;
  }
  return writes.map((write) => inserted(write, context.now));
}

/**
 * Runs what may meet the unique constraints of its targets. `work` is told who has to free keys of what has expired:
 * in a session beforehand, because a violation ends the transaction; else after a violation only.
 * @param turn whether it is one statement, which others of its session may stand beside
 * @throws `ALREADY_EXISTS`, which fails the session.
 */
export async function writeUnique<R>(
  database: Database,
  targets: readonly { readonly collection: RecordSchema }[],
  context: OperationContext,
  work: (freeing: Freeing) => Promise<R>,
  turn: 'run' | 'share' = 'run',
): Promise<R> {
  const { session } = context;
  const attempt = async (freeing: Freeing): Promise<R> => {
    if (session?.failure !== undefined) throw session.failure;
    try {
      return await work(freeing);
    } catch (error) {
      const violation = uniqueViolation(error);
      if (violation === undefined) throw error;
      // Another statement's, by which this one failed too.
      const met = session?.failure;
      if (met !== undefined && met !== error) throw met as StorageError;
      const refusal = uniqueError(database.dialect, violation, targets, error);
      if (session !== undefined) session.failure = refusal;
      throw refusal;
    }
  };
  if (session !== undefined) return TURNS[turn](session, context, () => attempt('declared'));
  try {
    return await work('none');
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
  }
  return attempt('all');
}
