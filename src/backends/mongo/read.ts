/** Reads by key. */
import type { OperationContext } from '../../component.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { RecordKey, RecordSchema, Stored } from '../backend.js';
import { copyJson } from '../value.js';
import { documentId, type RecordDocument, toStored } from './document.js';
import { collectionName, records, withoutWords } from './find.js';

export function readKeys(
  pool: MongoPool,
  tenant: string,
  keys: readonly RecordKey[],
  context: OperationContext,
): Promise<(Stored | undefined)[]> {
  if (keys.length === 0) return Promise.resolve([]);
  return pool.read('read', context, async (use) => {
    const [first] = keys;
    if (keys.length === 1) return [await readOne(use, tenant, first!, context.now)];
    const found = new Map<RecordSchema, Map<string, Stored>>();
    for (const [collection, ids] of byCollection(keys)) {
      const documents = await readDocuments(use, tenant, collection, ids);
      const live = documents.filter(({ x }) => x > context.now);
      found.set(collection, new Map(live.map((document) => [document.i, toStored(document)])));
    }
    const given = new Set<Stored>();
    return keys.map(({ collection, id }) => {
      const record = found.get(collection)?.get(id);
      if (record === undefined) return undefined;
      if (given.has(record)) return { ...record, value: copyJson(record.value) };
      given.add(record);
      return record;
    });
  });
}

export async function readOne(
  use: MongoUse,
  tenant: string,
  { collection, id }: RecordKey,
  now: Date,
): Promise<Stored | undefined> {
  // By the key alone, which is the shortest way in every server.
  const { projection } = withoutWords(collection);
  const name = collectionName(collection);
  const document = await use.findById<RecordDocument>(name, documentId(tenant, id), projection);
  return document === null || document.x <= now ? undefined : toStored(document);
}

/** The documents of these ids, expired ones too. */
export async function readDocuments(
  use: MongoUse,
  tenant: string,
  collection: RecordSchema,
  ids: readonly string[],
): Promise<RecordDocument[]> {
  const keys = [...new Set(ids)].map((id) => documentId(tenant, id));
  const options = { ...use.callBounds(), batchSize: keys.length + 1, ...withoutWords(collection) };
  return records(use, collection)
    .find({ _id: { $in: keys } }, options)
    .toArray();
}

export function byCollection(keys: readonly RecordKey[]): Map<RecordSchema, string[]> {
  const ids = new Map<RecordSchema, string[]>();
  for (const { collection, id } of keys) {
    const list = ids.get(collection);
    if (list === undefined) ids.set(collection, [id]);
    else list.push(id);
  }
  return ids;
}
