/** Inserts of new records, all of them or none: in the caller's transaction or one of their own. */
import type { OperationContext } from '../../component.js';
import type { MongoUse } from '../../pools/mongo/opened.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { Stored, Write } from '../backend.js';
import { toDocument } from './document.js';
import { records } from './find.js';
import { dropExpired, uniqueError } from './unique.js';
import { inTransaction } from './write.js';

type Insert = Write & { readonly kind: 'insert' };

export function bulkLoad(
  pool: MongoPool,
  tenant: string,
  writes: readonly Insert[],
  context: OperationContext,
): Promise<void> {
  const insert = (use: MongoUse): Promise<void> => insertAll(use, tenant, writes, context.now);
  if (writes.length === 0) return Promise.resolve();
  if (context.session !== undefined) return pool.write('bulkLoad', context, insert);
  return inTransaction(pool, 'bulkLoad', context, insert);
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
    const documents = rows.map((row) => toDocument(collection, row));
    try {
      await records(use, collection).insertMany(documents, { ...use.bounds, ordered: true });
    } catch (error) {
      throw uniqueError(use, error, writes) ?? error;
    }
  }
}
