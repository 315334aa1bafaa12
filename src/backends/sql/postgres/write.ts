/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext } from '../../../component.js';
import { SessionQueue } from '../../../pools/session-queue.js';
import type { RecordSchema, Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { uniqueError } from '../unique.js';
import { writeBatch } from './batch.js';
import type { Freeing } from './expired.js';
import { writeOne } from './single.js';

/** A batch rolls back to its savepoint, and must undo nothing but itself. */
export const TURNS = new SessionQueue();

export function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  return writeUnique(database, writes, context, async (freeing) =>
    writes.length === 1
      ? [await writeOne(database, tenant, writes[0]!, freeing, context)]
      : writeBatch(database, tenant, writes, freeing, context),
  );
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
  work: (freeing: Freeing) => Promise<R>,
): Promise<R> {
  const { session } = context;
  const attempt = async (freeing: Freeing): Promise<R> => {
    if (session?.failure !== undefined) throw session.failure;
    try {
      return await work(freeing);
    } catch (error) {
      const violation = uniqueViolation(error);
      if (violation === undefined) throw error;
      const refusal = uniqueError(database.dialect, violation, targets, error);
      if (session !== undefined) session.failure = refusal;
      throw refusal;
    }
  };
  if (session !== undefined) return TURNS.run(session, context, () => attempt('declared'));
  try {
    return await work('none');
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
  }
  return attempt('all');
}
