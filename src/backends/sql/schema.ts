/** Tables and indexes: the call that makes them as their collections declare them. */
import type { OperationContext } from '../../component.js';
import type { RecordSchema } from '../backend.js';
import { replaceNote, tablesBehind, type TableState } from './catalogue.js';
import { alterBesideWriters, createTables } from './concurrent-schema.js';
import type { Database } from './dialect.js';
import { dropExpired, refuseMisfits } from './misfits.js';
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
  const began = performance.now();
  const later = (): OperationContext => {
    const now = new Date(context.now.getTime() + performance.now() - began);
    return { ...context, now, deadline: patience };
  };
  const { pool } = database;
  if (pool.concurrent !== true)
    return pool.transaction({ context: later() }, (session) => alterInside(database, schemas, { ...later(), session }));
  while (behind.length > 0) {
    const absent = behind.filter(({ exists }) => !exists);
    if (absent.length > 0) await createTables(database, absent, context);
    else for (const state of behind) await alterBesideWriters(database, state, later());
    behind = await tablesBehind(database, schemas, later());
  }
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
    if (missing.some(({ unique }) => unique)) await dropExpired(database, schema, context);
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
