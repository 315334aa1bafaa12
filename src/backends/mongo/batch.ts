/** Writes inside a transaction: read, decide in this process, write what was decided under the versions that were read. */
import { serializationFailure } from '../../errors.js';
import type { AnyBulkWriteOperation, MongoUse } from '../../pools/mongo/operation-use.js';
import type { RecordSchema, Stored, Write, WriteResult } from '../backend.js';
import { inWriteOrder } from '../write-order.js';
import { isRefused, planWrite, type Planned, withSkipped } from '../plan.js';
import { documentId, type RecordDocument, toDocument, toStored } from './document.js';
import { ID_INDEX } from './fault.js';
import { records } from './find.js';
import { byCollection, readDocuments } from './read.js';
import { dropExpired, uniqueError } from './unique.js';

type Documents = ReadonlyMap<string, RecordDocument>;

export async function writePlanned(
  use: MongoUse,
  tenant: string,
  writes: readonly Write[],
  now: Date,
): Promise<WriteResult[]> {
  const met = new Map<RecordSchema, Documents>();
  for (const [collection, ids] of byCollection(writes)) {
    const documents = await readDocuments(use, tenant, collection, ids);
    met.set(collection, new Map(documents.map((document) => [document.i, document])));
  }
  const planned = writes.map((write) => {
    const document = met.get(write.collection)?.get(write.id);
    const live = document !== undefined && document.x > now ? toStored(document) : undefined;
    return planWrite(live, tenant, write, now);
  });
  const results = planned.map(({ result }) => result);
  if (results.some(isRefused)) return withSkipped(results);
  for (const collection of met.keys()) {
    const own = planned.filter((_, i) => writes[i]!.collection === collection);
    const rows = own.map(({ row }) => row).filter((row): row is Stored => row !== undefined);
    await dropExpired(use, tenant, collection, rows, now);
    const keys = writes.filter((write) => write.collection === collection);
    await apply(use, tenant, collection, keys, own, await withoutExpired(use, collection, met.get(collection)!, now));
  }
  return results;
}

/** What expired and is written anew gives its keys up before any other record of the batch wants one. */
async function withoutExpired(use: MongoUse, collection: RecordSchema, met: Documents, now: Date): Promise<Documents> {
  const expired = collection.unique.length === 0 ? [] : [...met.values()].filter(({ x }) => x <= now);
  if (expired.length === 0) return met;
  await records(use, collection).deleteMany({ _id: { $in: expired.map(({ _id }) => _id) } }, use.callBounds());
  return new Map([...met].filter(([, { x }]) => x > now));
}

async function apply(
  use: MongoUse,
  tenant: string,
  collection: RecordSchema,
  writes: readonly Write[],
  planned: readonly Planned[],
  met: Documents,
): Promise<void> {
  const operations = inWriteOrder(writes).map((place): AnyBulkWriteOperation<RecordDocument> => {
    const { id } = writes[place]!;
    const { row } = planned[place]!;
    const document = met.get(id);
    const filter = { _id: documentId(tenant, id), n: document?.n ?? 0 };
    if (row === undefined) return { deleteOne: { filter } };
    if (document === undefined) return { insertOne: { document: toDocument(collection, row) } };
    const marks = document.m === undefined ? {} : { m: document.m };
    return { replaceOne: { filter, replacement: { ...toDocument(collection, row), ...marks } } };
  });
  let done: number;
  try {
    const result = await records(use, collection).bulkWrite(operations, { ...use.callBounds(), ordered: true });
    done = result.insertedCount + result.matchedCount + result.deletedCount;
  } catch (error) {
    // The snapshot had no such id: another transaction was first.
    if (use.duplicateIndex(error) === ID_INDEX) throw serializationFailure('write', error);
    throw uniqueError(use, error, writes) ?? error;
  }
  if (done !== operations.length) throw serializationFailure('write');
}
