/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext, Session } from '../../../component.js';
import { SessionQueue } from '../../../pools/session-queue.js';
import type { SqlPool } from '../../../pools/pool.js';
import type { RecordSchema, Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { uniqueError } from '../unique.js';
import { writeBatch } from './batch.js';
import { tableName } from './expressions.js';
import { timeText } from './parameters.js';
import { writeOne } from './single.js';

/** A batch rolls back to its savepoint, and must undo nothing but itself. */
export const TURNS = new SessionQueue();

export async function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { session } = context;
  if (session !== undefined)
    return TURNS.run(session, () => writeInSession(database, tenant, writes, context, session));
  try {
    return await run(database, tenant, writes, context);
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
  }
  // The key may be held by an expired record that no sweep has met yet.
  return database.pool.transaction({ context }, (own) =>
    writeInSession(database, tenant, writes, { ...context, session: own }, own),
  );
}

async function writeInSession(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
  session: Session,
): Promise<WriteResult[]> {
  if (session.failure !== undefined) throw session.failure;
  // Beforehand, because a violation ends the transaction.
  for (const collection of new Set(writes.map((write) => write.collection)))
    if (collection.unique.length > 0) await dropExpired(database.pool, tenant, collection, context);
  try {
    return await run(database, tenant, writes, context);
  } catch (error) {
    const violation = uniqueViolation(error);
    if (violation === undefined) throw error;
    session.failure = uniqueError(database.dialect, violation, writes, error);
    throw session.failure;
  }
}

async function run(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  return writes.length === 1
    ? [await writeOne(database, tenant, writes[0]!, context)]
    : writeBatch(database, tenant, writes, context);
}

/** @returns how many there were. */
export async function dropExpired(
  pool: SqlPool,
  tenant: string,
  collection: RecordSchema,
  context: OperationContext,
): Promise<number> {
  const text =
    `DELETE FROM ${tableName(collection.name)} AS t WHERE t.tenant = $1::text AND t.expires_at <= $2::timestamptz ` +
    "AND t.expires_at < 'infinity'::timestamptz";
  return (await pool.query(text, [tenant, timeText(context.now)], context)).affected;
}
