/** Collections and indexes: the call that makes what is missing, from any number of processes at once. */
import type { CreateIndexesOptions } from '../../pools/mongo/opened.js';
import type { OperationContext } from '../../component.js';
import { StorageError } from '../../errors.js';
import { recordWords } from '../../filter/text.js';
import type { MongoUse } from '../../pools/mongo/opened.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { JsonObject, RecordSchema } from '../backend.js';
import { toStored } from './document.js';
import { errorCode, isDeadlock } from './fault.js';
import { collectionName, records } from './find.js';
import { collectionPlan, type IndexPart } from './indexes.js';

/** One document a collection: the names of the parts that are made, so that one read tells of all. */
interface SchemaDocument {
  readonly _id: string;
  readonly parts: readonly string[];
}

/** No collection of records has this name: theirs begin with `qm_`. */
const CATALOGUE = 'quartermaster_schema';

/** Makes what is missing. It takes no part in a session: collections are made outside of transactions. */
export async function ensureCollections(
  pool: MongoPool,
  schemas: readonly RecordSchema[],
  { now, deadline, signal }: OperationContext,
): Promise<void> {
  if (schemas.length === 0) return;
  await pool.run('ensure', { now, deadline, signal }, async (use) => {
    for (const schema of await incomplete(use, schemas)) await make(use, schema);
  });
}

/** Two questions at the same time: what is noted as made, and what is there (someone may have dropped it since). */
async function incomplete(use: MongoUse, schemas: readonly RecordSchema[]): Promise<RecordSchema[]> {
  const names = schemas.map(collectionName);
  const [noted, there] = await Promise.all([
    use
      .collection<SchemaDocument>(CATALOGUE)
      .find({ _id: { $in: names } }, { ...use.bounds, batchSize: names.length + 1 })
      .toArray(),
    use.db.listCollections({ name: { $in: names } }, { nameOnly: true, signal: use.bounds.signal }).toArray(),
  ]);
  const found = new Set(there.map(({ name }) => name));
  const parts = new Map(noted.map((document) => [document._id, new Set(document.parts)]));
  return schemas.filter((schema) => {
    const name = collectionName(schema);
    return !found.has(name) || !collectionPlan(schema).parts.every((part) => parts.get(name)?.has(part) === true);
  });
}

async function make(use: MongoUse, schema: RecordSchema): Promise<void> {
  const name = collectionName(schema);
  const plan = collectionPlan(schema);
  const { signal, maxTimeMS } = use.bounds;
  await again(use, () => use.db.command({ create: name, maxTimeMS }, { signal }), { done: EXISTS });
  await again(use, () => createIndexes(use, name, plan.indexes));
  for (const { index, constraint } of plan.unique)
    await again(use, () => createIndexes(use, name, [index])).catch((cause: unknown) => {
      throw use.duplicateIndex(cause) !== undefined ? migrationError(schema, constraint, cause) : cause;
    });
  const catalogue = use.collection<SchemaDocument>(CATALOGUE);
  if (plan.words !== undefined) {
    const noted = await catalogue.findOne({ _id: name, parts: plan.words }, use.bounds);
    if (noted === null) await addWords(use, schema);
  }
  const made = { $addToSet: { parts: { $each: [...plan.parts] } } };
  await again(use, () => catalogue.updateOne({ _id: name }, made, { ...use.bounds, upsert: true }), { met: DUPLICATE });
}

function createIndexes(use: MongoUse, name: string, indexes: readonly IndexPart[]): Promise<unknown> {
  const bounds: CreateIndexesOptions & { signal: AbortSignal } = use.bounds;
  return use.collection(name).createIndexes(
    indexes.map((index) => ({ ...index, key: { ...index.key } })),
    bounds,
  );
}

const EXISTS = 48;
const DUPLICATE = 11_000;
/** Builds of the same index that met: background operation in progress, aborted build, a catalogue that changed. */
const MET = new Set([12_587, 276, 319, 112, 117, 85, 86, 26]);
const ATTEMPTS = 20;

/** FerretDB passes on what the PostgreSQL beneath it says of two that made one thing. */
function hasLost(error: unknown): boolean {
  return (
    isDeadlock(error) || (errorCode(error) === 1 && error instanceof Error && error.message.includes('concurrent'))
  );
}

/** Tries again while another process makes the same thing. */
async function again(
  use: MongoUse,
  work: () => Promise<unknown>,
  codes: { readonly done?: number; readonly met?: number } = {},
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await work();
      return;
    } catch (error) {
      const code = errorCode(error);
      if (code !== undefined && code === codes.done) return;
      const hasMet = code !== undefined && (MET.has(code) || code === codes.met);
      if (!(hasMet || hasLost(error)) || attempt === ATTEMPTS || use.bounds.signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * attempt));
    }
  }
}

function migrationError(schema: RecordSchema, constraint: string, cause: unknown): StorageError {
  return new StorageError(
    'MIGRATION',
    `The collection ${schema.name} has records that violate its new unique constraint ${constraint}`,
    { operation: 'ensure', details: { collection: schema.name, constraint }, cause },
  );
}

const WORDS_PAGE = 500;

/** Words are made here and not by the server, so records from before the declaration are read and written once. */
async function addWords(use: MongoUse, schema: RecordSchema): Promise<void> {
  const collection = records(use, schema);
  for (let last = ''; ;) {
    const page = await collection
      .find({ _id: { $gt: last } }, { ...use.bounds, sort: { _id: 1 }, limit: WORDS_PAGE, batchSize: WORDS_PAGE })
      .toArray();
    const end = page.at(-1);
    if (end === undefined) return;
    last = end._id;
    const updates = page.map((document) => {
      const w = recordWords(schema.text, toStored(document).value satisfies JsonObject);
      // A record that was written meanwhile has its words already.
      return { updateOne: { filter: { _id: document._id, n: document.n, c: document.c }, update: { $set: { w } } } };
    });
    await collection.bulkWrite(updates, { ...use.bounds, ordered: false });
  }
}
