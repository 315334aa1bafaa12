/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext } from '../../../component.js';
import { SessionQueue } from '../../../pools/session-queue.js';
import type { RecordSchema, Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { uniqueError } from '../unique.js';
import { writeBatch } from './batch.js';
import { writeOne } from './single.js';

/** A batch rolls back to its savepoint, and must undo nothing but itself. */
export const TURNS = new SessionQueue();

export function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  return writeUnique(database, writes, context, async (free) =>
    writes.length === 1
      ? [await writeOne(database, tenant, writes[0]!, free, context)]
      : writeBatch(database, tenant, writes, free, context),
  );
}

/**
 * Runs what may meet the unique constraints of its targets. `work` is told whether it has to free keys of what has expired:
 * in a session beforehand, because a violation ends the transaction; else after a violation only.
 * @throws `ALREADY_EXISTS`, which fails the session.
 */
export async function writeUnique<R>(
  database: Database,
  targets: readonly { readonly collection: RecordSchema }[],
  context: OperationContext,
  work: (free: boolean) => Promise<R>,
): Promise<R> {
  const { session } = context;
  const attempt = async (free: boolean): Promise<R> => {
    if (session?.failure !== undefined) throw session.failure;
    try {
      return await work(free);
    } catch (error) {
      const violation = uniqueViolation(error);
      if (violation === undefined) throw error;
      const refusal = uniqueError(database.dialect, violation, targets, error);
      if (session !== undefined) session.failure = refusal;
      throw refusal;
    }
  };
  if (session !== undefined) return TURNS.run(session, () => attempt(true));
  try {
    return await work(false);
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
  }
  return attempt(true);
}
