/** Inserts of new records, all of them or none: in the caller's transaction or one of their own. */
import type { OperationContext } from '../../component.js';
import { ConflictError } from '../../errors.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { Stored, Write } from '../backend.js';
import { documentId, toDocument } from './document.js';
import { records } from './find.js';
import { dropExpired, uniqueError } from './unique.js';
import { inTransaction } from './write.js';

type Insert = Write & { readonly kind: 'insert' };

export async function bulkLoad(
  pool: MongoPool,
  tenant: string,
  writes: readonly Insert[],
  context: OperationContext,
): Promise<void> {
  const insert = (use: MongoUse): Promise<void> => insertAll(use, tenant, writes, context.now);
  if (writes.length === 0) return;
  if (context.session === undefined) return inTransaction(pool, 'bulkLoad', context, insert);
  // An insert that is refused would end the transaction.
  const taken = await pool.read('bulkLoad', context, (use) => takenIn(use, tenant, writes, context.now));
  if (taken !== undefined)
    throw new ConflictError('ALREADY_EXISTS', `A record of ${taken} has an id of those that are loaded`, {
      operation: 'load',
      details: { collection: taken },
    });
  return pool.write('bulkLoad', context, insert);
}

/** A collection that has one of the ids already. */
async function takenIn(
  use: MongoUse,
  tenant: string,
  writes: readonly Insert[],
  now: Date,
): Promise<string | undefined> {
  for (const collection of new Set(writes.map((write) => write.collection))) {
    const ids = writes.filter((write) => write.collection === collection).map(({ id }) => documentId(tenant, id));
    const live = { _id: { $in: ids }, $nor: [{ e: { $lte: now } }] };
    if ((await records(use, collection).findOne(live, { ...use.callBounds(), projection: { _id: 1 } })) !== null)
      return collection.name;
  }
  return undefined;
}

async function insertAll(use: MongoUse, tenant: string, writes: readonly Insert[], now: Date): Promise<void> {
  for (const collection of new Set(writes.map((write) => write.collection))) {
    const rows = writes
      .filter((write) => write.collection === collection)
      .map(({ id, value, createdAt = now, expiresAt }): Stored => {
        const row = { tenant, id, version: 1, createdAt, updatedAt: now, value };
        return expiresAt === undefined ? row : { ...row, expiresAt };
      });
    await dropExpired(use, tenant, collection, rows, now);
    const ids = rows.map(({ id }) => documentId(tenant, id));
    await records(use, collection).deleteMany({ _id: { $in: ids }, e: { $lte: now } }, use.callBounds());
    const documents = rows.map((row) => toDocument(collection, row));
    try {
      await records(use, collection).insertMany(documents, { ...use.callBounds(), ordered: true });
    } catch (error) {
      throw uniqueError(use, error, writes) ?? error;
    }
  }
}
