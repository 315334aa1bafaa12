/** Writes: one or a batch, alone or in a session, and what becomes of unique violations. */
import type { OperationContext, Session } from '../../component.js';
import { ConflictError } from '../../errors.js';
import type { SqlPool } from '../../pools/pool.js';
import type { RecordSchema, Write, WriteResult } from '../backend.js';
import { writeBatch } from './batch.js';
import { tableName } from './expressions.js';
import { sqlFault } from './fault.js';
import { timeText } from './parameters.js';
import { tablePlan } from './schema.js';
import { writeOne } from './single.js';

export async function writeAll(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  if (writes.length === 0) return [];
  const { session } = context;
  if (session !== undefined) return inTurn(session, () => writeInSession(pool, tenant, writes, context, session));
  try {
    return await run(pool, tenant, writes, context);
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
  }
  // The key may be held by an expired record that no sweep has met yet.
  return pool.transaction({ context }, (own) =>
    writeInSession(pool, tenant, writes, { ...context, session: own }, own),
  );
}

async function writeInSession(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
  session: Session,
): Promise<WriteResult[]> {
  if (session.failure !== undefined) throw session.failure;
  // Beforehand, because a violation ends the transaction.
  for (const collection of new Set(writes.map((write) => write.collection)))
    if (collection.unique.length > 0) await dropExpired(pool, tenant, collection, context);
  try {
    return await run(pool, tenant, writes, context);
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    session.failure = uniqueError(error, writes);
    throw session.failure;
  }
}

async function run(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  return writes.length === 1
    ? [await writeOne(pool, tenant, writes[0]!, context)]
    : writeBatch(pool, tenant, writes, context);
}

const TURNS = new WeakMap<Session, Promise<unknown>>();

/** One write of a session after the other: a batch rolls back to its savepoint, and must undo nothing but itself. */
function inTurn<R>(session: Session, work: () => Promise<R>): Promise<R> {
  const before = TURNS.get(session);
  const turn = before === undefined ? work() : before.then(work, work);
  TURNS.set(session, turn);
  return turn;
}

async function dropExpired(
  pool: SqlPool,
  tenant: string,
  collection: RecordSchema,
  context: OperationContext,
): Promise<void> {
  const text =
    `DELETE FROM ${tableName(collection.name)} AS t WHERE t.tenant = $1::text AND t.expires_at <= $2::timestamptz ` +
    "AND t.expires_at < 'infinity'::timestamptz";
  await pool.query(text, [tenant, timeText(context.now)], context);
}

function isUniqueViolation(error: unknown): boolean {
  return sqlFault(error)?.state === '23505';
}

function uniqueError(error: unknown, writes: readonly Write[]): ConflictError {
  const index = sqlFault(error)?.constraint;
  for (const { collection } of writes) {
    const constraint = index === undefined ? undefined : tablePlan(collection).unique.get(index);
    if (constraint === undefined) continue;
    return new ConflictError(
      'ALREADY_EXISTS',
      `Another record of ${collection.name} has the values of the unique constraint ${constraint}`,
      { operation: 'write', details: { constraint, collection: collection.name }, cause: error },
    );
  }
  return new ConflictError('ALREADY_EXISTS', 'Another record has the values of a unique constraint', {
    operation: 'write',
    details: { constraint: index },
    cause: error,
  });
}
