/**
 * Changes to tables that others write meanwhile. One process at a time changes a table: it says so in the table's note, and
 * gives signs of life there or by the lock that the server holds for a change; the others wait until it is done.
 */
import { randomUUID } from 'node:crypto';
import { sleep, systemClock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isSerializationFailure, serializationFailure } from '../../errors.js';
import { type DeclarationNote, wordsForm } from '../declaration.js';
import { type Note, replaceNote, tableStates, type TableState, type Work } from './catalogue.js';
import type { Database, SharedDefinitions } from './dialect.js';
import { literal } from './expressions.js';
import { uniqueViolation } from './fault.js';
import { dropExpired } from './expired.js';
import { refuseMisfits } from './misfits.js';
import { createIndex, type IndexPlan } from './table-plan.js';
import { makeWords, type RecordPlace } from './words.js';

/** Milliseconds without a sign after which a change counts as given up. */
const SILENCE = 10_000;

/** Each table with its indexes and its note, at once; those that another process has made by then are left alone. */
export async function createTables(
  { pool, dialect }: Database,
  states: readonly TableState[],
  context: OperationContext,
): Promise<void> {
  const { definitions } = dialect;
  const tables = states.map(({ schema, plan, change }) => ({
    name: plan.name,
    statements: [
      definitions.tableDdl(schema.name),
      ...(schema.text.length > 0 ? [`ALTER TABLE ${plan.table} ADD COLUMN ${definitions.wordsColumn}`] : []),
      ...plan.indexes.map((index) => createIndex(index, '')),
      `INSERT INTO ${definitions.notes} VALUES (${literal(plan.name)}, ${literal(JSON.stringify(change!.note))}) ON CONFLICT DO NOTHING`,
    ],
  }));
  await pool.script(definitions.shared!.createOnce(tables), context);
}

/**
 * @param isKnown whether what is noted of the records counts; otherwise all are checked.
 * @returns whether it was done; `false` when another process is at it, or has been meanwhile.
 */
export async function alterBesideWriters(
  database: Database,
  state: TableState,
  context: OperationContext,
  isKnown = true,
): Promise<boolean> {
  const { pool, dialect } = database;
  const { plan, note } = state;
  const isClaimed = note?.work !== undefined && context.now.getTime() - note.work.at < SILENCE;
  if (isClaimed || (await dialect.definitions.shared!.isHeld(pool, plan.table, context))) return false;
  const claim = await Claim.take(database, state, context);
  if (claim === undefined) return false;
  try {
    // What was read before the claim may have been mended since.
    const [now] = await tableStates(database, [state.schema], context, isKnown);
    await alter(database, now!, claim, context);
    return true;
  } catch (error) {
    await claim.release().catch(() => undefined);
    // Another process took it over, or stood in the way: what is there by now is looked at anew.
    if (!isSerializationFailure(error)) throw error;
    return false;
  }
}

async function alter(database: Database, state: TableState, claim: Claim, context: OperationContext): Promise<void> {
  const { pool, dialect } = database;
  const { schema, plan, missing, change, hasWords } = state;
  const { definitions } = dialect;
  const shared = definitions.shared!;
  const isUnique = missing.some(({ unique }) => unique);
  if (isUnique || (change !== undefined && (change.ids || change.fields.size > 0)))
    await pool.transaction({ isolation: 'snapshot', context }, async (session) => {
      const inside = { ...context, session };
      await pool.script(shared.hold(plan.table), inside);
      await refuseMisfits(database, state, inside);
    });
  await claim.keep();
  if (isUnique) await dropExpired(database, 'all', schema, context);
  const lacksWords = schema.text.length > 0 && !hasWords;
  if (lacksWords) await addColumn(database, plan.table, claim, context);
  if (lacksWords || change?.words === true) {
    const form = wordsForm(schema);
    const from = claim.madeWords(form) ?? ['', ''];
    await makeWords(database, schema, from, context, (after) => claim.keep({ form, after }));
  }
  for (const index of missing) {
    await claim.keep();
    if (state.unfinished.has(index.name)) await dropBesideWriters(database, index.name, context);
    await buildIndex(database, state, index, shared, context);
  }
  await claim.finish(change?.note);
}

/** PostgreSQL has no other way to drop an index of a partitioned table than to hold up those who write. */
export async function dropBesideWriters(
  { pool, dialect: { definitions } }: Database,
  index: string,
  context: OperationContext,
): Promise<void> {
  try {
    await pool.script(definitions.shared!.dropIndex(index), context);
  } catch (error) {
    if (!definitions.shared!.isPartitioned(error)) throw error;
    await pool.script(definitions.dropIndex(index), context);
  }
}

async function buildIndex(
  database: Database,
  state: TableState,
  index: IndexPlan,
  shared: SharedDefinitions,
  context: OperationContext,
): Promise<void> {
  const { pool } = database;
  try {
    await pool.script(createIndex(index, 'CONCURRENTLY '), context);
  } catch (error) {
    // PostgreSQL has no other way to index all partitions: those who write wait.
    if (shared.isPartitioned(error)) return pool.script(createIndex(index, ''), context);
    if (uniqueViolation(error) === undefined) throw error;
    await dropBesideWriters(database, index.name, context);
    await refuseMisfits(database, state, context);
    // Those that stood against it are gone again.
    throw serializationFailure(pool.name, error);
  }
}

async function addColumn(
  { pool, dialect }: Database,
  table: string,
  claim: Claim,
  context: OperationContext,
): Promise<void> {
  const { wordsColumn, shared } = dialect.definitions;
  for (;;) {
    try {
      await pool.script(shared!.addColumn(table, wordsColumn), context);
      return;
    } catch (error) {
      if (!shared!.isHeldUp(error)) throw error;
      await claim.keep();
      await sleep(systemClock, 100 + Math.random() * 400, context.signal);
    }
  }
}

/** Milliseconds to give a claim back. */
const RELEASE = 2_000;

/** That this process is the one that changes the table. */
class Claim {
  private readonly began = performance.now();

  private constructor(
    private readonly database: Database,
    private readonly name: string,
    private readonly context: OperationContext,
    private readonly parts: DeclarationNote['parts'],
    private work: Work,
    private noted: string,
  ) {}

  /** @returns `undefined` when another process was faster. */
  static async take(
    database: Database,
    { note, noted, plan }: TableState,
    context: OperationContext,
  ): Promise<Claim | undefined> {
    const parts = note?.parts ?? {};
    const work: Work = { ...note?.work, by: randomUUID(), at: context.now.getTime() };
    const text = JSON.stringify({ parts, work });
    const isTaken = await replaceNote(database, plan.name, noted, text, context);
    return isTaken ? new Claim(database, plan.name, context, parts, work, text) : undefined;
  }

  /** Up to which record these words are made. */
  madeWords(form: string): RecordPlace | undefined {
    return this.work.words?.form === form ? this.work.words.after : undefined;
  }

  /** A sign of life. @throws a serialization failure when another process has taken over. */
  async keep(words = this.work.words): Promise<void> {
    const at = Math.round(this.context.now.getTime() + performance.now() - this.began);
    this.work = { by: this.work.by, at, ...(words === undefined ? {} : { words }) };
    await this.replace({ parts: this.parts, work: this.work });
  }

  finish(note: DeclarationNote = { parts: this.parts }): Promise<void> {
    return this.replace(note);
  }

  /** What words were made stays noted. It has a moment of its own: the change may have ended with its time. */
  release(): Promise<void> {
    const context = { now: this.context.now, deadline: systemClock.monotonic() + RELEASE };
    return this.replace({ parts: this.parts, work: { ...this.work, at: 0 } }, context);
  }

  private async replace(note: Note, context: OperationContext = this.context): Promise<void> {
    const text = JSON.stringify(note);
    if (!(await replaceNote(this.database, this.name, this.noted, text, context)))
      throw serializationFailure(this.database.pool.name);
    this.noted = text;
  }
}
