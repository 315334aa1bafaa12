/** Tables and indexes: the call that makes them as their collections declare them. */
import { sleep, systemClock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import type { RecordSchema } from '../backend.js';
import { replaceNote, tablesBehind, type TableState, tableStates, undeclaredIndexes } from './catalogue.js';
import { alterBesideWriters, createTables, dropBesideWriters } from './concurrent-schema.js';
import type { Database } from './dialect.js';
import { dropExpired } from './expired.js';
import { refuseMisfits } from './misfits.js';
import { createIndex } from './table-plan.js';
import { makeWords } from './words.js';

/**
 * Makes what is missing and applies what has changed, in any number of processes at once. What is there costs one query.
 * @param patience the deadline of what takes as long as there are records; default: that of the context.
 * @throws `MIGRATION` when records do not fit; nothing of that collection is changed then.
 */
export async function ensureTables(
  database: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
  patience = context.deadline,
): Promise<void> {
  if (schemas.length === 0) return;
  if (context.session !== undefined) return alterInside(database, schemas, context);
  let behind = await tablesBehind(database, schemas, context);
  if (behind.length === 0) return;
  const later = passing({ ...context, deadline: patience });
  const { pool } = database;
  if (pool.concurrent !== true)
    return pool.transaction({ context: later() }, (session) => alterInside(database, schemas, { ...later(), session }));
  for (let wait = FIRST_WAIT; behind.length > 0;) {
    const absent = behind.filter(({ exists }) => !exists);
    let isDone = true;
    if (absent.length > 0) await createTables(database, absent, context);
    else for (const state of behind) isDone = (await alterBesideWriters(database, state, later())) && isDone;
    if (!isDone) wait = await pause(wait, context);
    behind = await tablesBehind(database, schemas, later());
  }
}

/**
 * Drops the indexes that are no longer declared, once every record is checked, and forgets earlier declarations.
 * @returns the names of those indexes, dropped or, by a dry run, not.
 */
export async function settleTable(
  database: Database,
  schema: RecordSchema,
  dryRun: boolean,
  context: OperationContext,
): Promise<string[]> {
  const { pool, dialect } = database;
  const { definitions } = dialect;
  if (dryRun) return undeclaredIndexes(database, schema, context);
  await ensureTables(database, [schema], context);
  if (pool.concurrent !== true)
    return pool.transaction({ context }, async (session) => {
      const inside = { ...context, session };
      await definitions.lock(pool, inside);
      for (const state of await tableStates(database, [schema], inside, false))
        await alterTable(database, state, inside);
      const names = await undeclaredIndexes(database, schema, inside);
      for (const name of names) await pool.script(definitions.dropIndex(name), inside);
      return names;
    });
  const later = passing(context);
  for (let wait = FIRST_WAIT; ;) {
    const [state] = await tableStates(database, [schema], later(), false);
    if (await alterBesideWriters(database, state!, later(), false)) break;
    wait = await pause(wait, context);
  }
  const names = await undeclaredIndexes(database, schema, context);
  for (const name of names) await dropBesideWriters(database, name, context);
  return names;
}

/** The wait for another process, in milliseconds: it doubles, and differs at random. */
const FIRST_WAIT = 50;
const LONGEST_WAIT = 1_000;

/** @returns how long the next wait is. */
async function pause(wait: number, { signal }: OperationContext): Promise<number> {
  await sleep(systemClock, wait * (0.5 + Math.random()), signal);
  return Math.min(wait * 2, LONGEST_WAIT);
}

/** The context as time goes on: a change may take an hour. */
function passing(context: OperationContext): () => OperationContext {
  const began = performance.now();
  return () => ({ ...context, now: new Date(context.now.getTime() + performance.now() - began) });
}

/** In the context's session, which has the database to itself or at least the lock of all who make tables. */
async function alterInside(
  database: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<void> {
  const { pool, dialect } = database;
  await dialect.definitions.lock(pool, context);
  await dialect.definitions.prepare(pool, context);
  for (const state of await tablesBehind(database, schemas, context)) await alterTable(database, state, context);
}

async function alterTable(database: Database, state: TableState, context: OperationContext): Promise<void> {
  const { pool, dialect } = database;
  const { schema, plan, exists, missing, change } = state;
  const { definitions } = dialect;
  if (exists) {
    await refuseMisfits(database, state, context);
    if (missing.some(({ unique }) => unique)) await dropExpired(database, 'all', schema, context);
  } else {
    await pool.script(definitions.tableDdl(schema.name), context);
  }
  const lacksWords = schema.text.length > 0 && !state.hasWords;
  if (lacksWords) await pool.script(`ALTER TABLE ${plan.table} ADD COLUMN ${definitions.wordsColumn}`, context);
  if (exists && (lacksWords || change?.words === true))
    await makeWords(database, schema, ['', ''], context, async () => {});
  for (const index of missing) await pool.script(createIndex(index, ''), context);
  if (change !== undefined) await replaceNote(database, plan.name, state.noted, JSON.stringify(change.note), context);
}
