/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext, Session } from '../../../component.js';
import { SessionQueue } from '../../../pools/session-queue.js';
import type { RecordSchema, Scope, Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { uniqueError } from '../unique.js';
import { writeBatch } from './batch.js';
import { tableName } from './expressions.js';
import { PostgresParameters } from './parameters.js';
import { writeOne } from './single.js';

/** A batch rolls back to its savepoint, and must undo nothing but itself. */
export const TURNS = new SessionQueue();

export function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  return writeUnique(database, { tenant }, writes, context, (own) => run(database, tenant, writes, own));
}

/** Runs what may meet the unique constraints of its targets. @throws `ALREADY_EXISTS`, which fails the session. */
export async function writeUnique<R>(
  database: Database,
  scope: Scope,
  targets: readonly Target[],
  context: OperationContext,
  work: (context: OperationContext) => Promise<R>,
): Promise<R> {
  const { session } = context;
  if (session !== undefined)
    return TURNS.run(session, () => writeInSession(database, scope, targets, context, session, work));
  try {
    return await work(context);
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
  }
  // The key may be held by an expired record that no sweep has met yet.
  return database.pool.transaction({ context }, (own) =>
    writeInSession(database, scope, targets, { ...context, session: own }, own, work),
  );
}

interface Target {
  readonly collection: RecordSchema;
}

async function writeInSession<R>(
  database: Database,
  scope: Scope,
  targets: readonly Target[],
  context: OperationContext,
  session: Session,
  work: (context: OperationContext) => Promise<R>,
): Promise<R> {
  if (session.failure !== undefined) throw session.failure;
  // Beforehand, because a violation ends the transaction.
  for (const collection of new Set(targets.map((target) => target.collection)))
    if (collection.unique.length > 0) await dropExpired(database, scope, collection, context);
  try {
    return await work(context);
  } catch (error) {
    const violation = uniqueViolation(error);
    if (violation === undefined) throw error;
    session.failure = uniqueError(database.dialect, violation, targets, error);
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
  { pool, dialect }: Database,
  scope: Scope,
  collection: RecordSchema,
  context: OperationContext,
): Promise<number> {
  const parameters = new PostgresParameters();
  const terms = [`t.expires_at <= ${parameters.time(context.now)}`, dialect.expires('t.')];
  if (scope !== 'all') terms.push(`t.tenant = ${parameters.text(scope.tenant)}`);
  const text = `DELETE FROM ${tableName(collection.name)} AS t WHERE ${terms.join(' AND ')}`;
  return (await pool.query(text, parameters.values, context)).affected;
}
