/** Collections and indexes: the call that makes what is missing, from any number of processes at once. */
import type { CreateIndexesOptions } from '../../pools/mongo/operation-use.js';
import type { OperationContext } from '../../component.js';
import { recordWords } from '../../filter/text.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { JsonObject, RecordSchema } from '../backend.js';
import { declarationChange, type DeclarationChange, type DeclarationNote, wordsForm } from '../declaration.js';
import { toStored } from './document.js';
import { errorCode, isDeadlock } from './fault.js';
import { collectionName, records } from './find.js';
import { collectionPlan, type IndexPart } from './indexes.js';
import { checkFields, checkIds, checkUnique } from './misfits.js';

/** One document a collection, so that one read tells of all. */
interface SchemaDocument {
  readonly _id: string;
  /** The names of the indexes that are made. */
  readonly parts: readonly string[];
  /** A `DeclarationNote` as JSON: its keys are paths. */
  readonly note?: string;
  /** Words are made up to this document; `form` names which words. */
  readonly words?: { readonly form: string; readonly after: string };
}

/** A collection that is not as it is declared. */
interface CollectionState {
  readonly schema: RecordSchema;
  readonly exists: boolean;
  readonly noted: SchemaDocument | undefined;
  readonly change: DeclarationChange | undefined;
}

/** No collection of records has this name: theirs begin with `qm_`. */
const CATALOGUE = 'quartermaster_schema';

/** Makes what is missing. It takes no part in a session: collections are made outside of transactions. */
export async function ensureCollections(
  pool: MongoPool,
  schemas: readonly RecordSchema[],
  { now, deadline, signal }: OperationContext,
  patience = deadline,
): Promise<void> {
  if (schemas.length === 0) return;
  const behind = await pool.run('ensure', { now, deadline, signal }, (use) => incomplete(use, schemas, now));
  if (behind.length === 0) return;
  await pool.run('ensure', { now, deadline: patience, signal }, async (use) => {
    for (const state of behind) await makeBeside(use, state, now);
  });
}

export async function areThere(
  pool: MongoPool,
  schemas: readonly RecordSchema[],
  { now, deadline, signal }: OperationContext,
): Promise<boolean> {
  const found = await pool.run('ensure', { now, deadline, signal }, (use) => states(use, schemas, now));
  return found.every(({ exists }) => exists);
}

/** Two questions at the same time: what is noted as made, and what is there (someone may have dropped it since). */
async function incomplete(
  use: MongoUse,
  schemas: readonly RecordSchema[],
  now: Date,
  isKnown = true,
): Promise<CollectionState[]> {
  return (await states(use, schemas, now, isKnown)).filter(({ schema, exists, noted, change }) => {
    const parts = new Set(noted?.parts);
    return !exists || change !== undefined || !collectionPlan(schema).parts.every((part) => parts.has(part));
  });
}

/** @param isKnown whether what is noted of the records counts; otherwise all must be checked. */
async function states(
  use: MongoUse,
  schemas: readonly RecordSchema[],
  now: Date,
  isKnown = true,
): Promise<CollectionState[]> {
  const names = schemas.map(collectionName);
  const [noted, there] = await Promise.all([
    use
      .collection<SchemaDocument>(CATALOGUE)
      .find({ _id: { $in: names } }, { ...use.callBounds(), batchSize: names.length + 1 })
      .toArray(),
    use.db.listCollections({ name: { $in: names } }, { nameOnly: true, signal: use.callBounds().signal }).toArray(),
  ]);
  const found = new Set(there.map(({ name }) => name));
  const documents = new Map(noted.map((document) => [document._id, document]));
  return schemas.map((schema): CollectionState => {
    const name = collectionName(schema);
    const document = documents.get(name);
    const note = document?.note === undefined || !isKnown ? undefined : (JSON.parse(document.note) as DeclarationNote);
    const change = declarationChange(schema, note, now);
    return { schema, exists: found.has(name), noted: document, change };
  });
}

/** As `settleTable` of the SQL backend. */
export async function settleCollection(
  pool: MongoPool,
  schema: RecordSchema,
  dryRun: boolean,
  context: OperationContext,
): Promise<string[]> {
  if (!dryRun) await ensureCollections(pool, [schema], context);
  const { now, deadline, signal } = context;
  return pool.run('settle', { now, deadline, signal }, async (use) => {
    if (!dryRun) for (const state of await states(use, [schema], now, false)) await makeBeside(use, state, now, false);
    const collection = records(use, schema);
    const { parts } = collectionPlan(schema);
    const there = (await collection.indexes(use.callBounds()).catch(none)).map(({ name }) => name!);
    const names = there.filter((name) => /^[iuwe]_[0-9a-f]{12}$/.test(name) && !parts.includes(name)).sort();
    if (dryRun) return names;
    for (const name of names) await collection.dropIndex(name, use.callBounds());
    const catalogue = use.collection<SchemaDocument>(CATALOGUE);
    await catalogue.updateOne({ _id: collectionName(schema) }, { $set: { parts } }, use.callBounds());
    return names;
  });
}

/** The indexes of a collection that is not there. */
function none(error: unknown): { readonly name?: string }[] {
  if (errorCode(error) !== NO_COLLECTION) throw error;
  return [];
}

/** Makes it, or finds that another process has, which makes the same at the same time. */
async function makeBeside(use: MongoUse, state: CollectionState, now: Date, isKnown = true): Promise<void> {
  for (let missing: CollectionState | undefined = state, attempt = 1; missing !== undefined; attempt++) {
    try {
      return await make(use, missing, now);
    } catch (error) {
      if (!hasMet(error) || attempt === ATTEMPTS || use.callBounds().signal.aborted) throw error;
    }
    // Whoever tries the same again at once only meets the others again: most find it made.
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * attempt));
    [missing] = await incomplete(use, [state.schema], now, isKnown);
  }
}

async function make(use: MongoUse, { schema, exists, noted, change }: CollectionState, now: Date): Promise<void> {
  const name = collectionName(schema);
  const plan = collectionPlan(schema);
  const { signal, maxTimeMS } = use.callBounds();
  const unique = plan.unique.filter(({ index }) => !exists || noted?.parts.includes(index.name) !== true);
  if (exists) {
    if (change?.ids === true) await checkIds(use, schema, now);
    if (change !== undefined) await checkFields(use, schema, change.fields, now);
    for (const part of unique) await checkUnique(use, schema, part, now);
    // An expired record still holds its key.
    if (unique.length > 0) await records(use, schema).deleteMany({ x: { $lte: now } }, use.callBounds());
  }
  await use.db.command({ create: name, maxTimeMS }, { signal }).catch(ignoreExists);
  for (const part of unique)
    await createIndexes(use, name, [part.index]).catch(async (cause: unknown) => {
      if (use.duplicateIndex(cause) !== undefined) await checkUnique(use, schema, part, now);
      throw cause;
    });
  await createIndexes(use, name, plan.indexes);
  if (change?.words === true) await makeWords(use, schema, noted);
  const catalogue = use.collection<SchemaDocument>(CATALOGUE);
  const made = {
    $addToSet: { parts: { $each: [...plan.parts] } },
    ...(change === undefined ? {} : { $set: { note: JSON.stringify(change.note) } }),
    $unset: { words: 1 as const },
  };
  await catalogue.updateOne({ _id: name }, made, { ...use.callBounds(), upsert: true });
}

function createIndexes(use: MongoUse, name: string, indexes: readonly IndexPart[]): Promise<unknown> {
  const bounds: CreateIndexesOptions & { signal: AbortSignal } = use.callBounds();
  return use.collection(name).createIndexes(
    indexes.map((index) => ({ ...index, key: { ...index.key } })),
    bounds,
  );
}

const NO_COLLECTION = 26;
const EXISTS = 48;
/**
 * Makers of the same thing that met: background operation in progress, aborted build, a catalogue that changed, a document of
 * the catalogue that both insert, records with one key that are gone by now.
 */
const MET = new Set([12_587, 276, 319, 112, 117, 85, 86, 26, 11_000]);
const ATTEMPTS = 20;

/** FerretDB passes on what the PostgreSQL beneath it says of two that made one thing. */
function hasMet(error: unknown): boolean {
  const code = errorCode(error);
  if (code !== undefined && MET.has(code)) return true;
  return isDeadlock(error) || (code === 1 && error instanceof Error && error.message.includes('concurrent'));
}

function ignoreExists(error: unknown): void {
  if (errorCode(error) !== EXISTS) throw error;
}

const WORDS_PAGE = 500;

/** Words are made here and not by the server, so records from before the declaration are read and written once. */
async function makeWords(use: MongoUse, schema: RecordSchema, noted: SchemaDocument | undefined): Promise<void> {
  const collection = records(use, schema);
  const catalogue = use.collection<SchemaDocument>(CATALOGUE);
  const form = wordsForm(schema);
  for (let last = noted?.words?.form === form ? noted.words.after : ''; ;) {
    const page = await collection
      .find({ _id: { $gt: last } }, { ...use.callBounds(), sort: { _id: 1 }, limit: WORDS_PAGE, batchSize: WORDS_PAGE })
      .toArray();
    const end = page.at(-1);
    if (end === undefined) return;
    last = end._id;
    const updates = page.map((document) => {
      const w = recordWords(schema.text, toStored(document).value satisfies JsonObject);
      // A record that was written meanwhile has its words already.
      return { updateOne: { filter: { _id: document._id, n: document.n, c: document.c }, update: { $set: { w } } } };
    });
    await collection.bulkWrite(updates, { ...use.callBounds(), ordered: false });
    await catalogue.updateOne(
      { _id: collectionName(schema) },
      { $set: { words: { form, after: last } } },
      use.callBounds(),
    );
  }
}
