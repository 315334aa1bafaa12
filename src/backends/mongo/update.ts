/**
 * One change to many records: one update for all whose meaning there is exactly the contract's. The others that fit are
 * found before it, left out of it, and patched one by one.
 */
import type { OperationContext } from '../../component.js';
import type { Document, MongoUse } from '../../pools/mongo/operation-use.js';
import type { MongoPool } from '../../pools/mongo/pool.js';
import type { Scope, UpdateRequest, Write } from '../backend.js';
import type { RecordDocument } from './document.js';
import { despiteDeadlocks } from './fault.js';
import { narrowed, records, whereLive } from './find.js';
import { patchUpdate } from './patch.js';
import { dropExpiredBefore, uniqueError } from './unique.js';
import { writeAll } from './write.js';

/** How many are left out of one update. */
const MAX_APART = 200;

type Key = Pick<RecordDocument, '_id' | 't' | 'i'>;

interface Portion {
  readonly updated: number;
  readonly apart: readonly Key[];
}

export async function updateMany(
  pool: MongoPool,
  scope: Scope,
  request: UpdateRequest,
  context: OperationContext,
): Promise<number> {
  let updated = 0;
  for (let after = ''; ;) {
    const portion = await pool.write('updateMany', context, (use) =>
      updateFrom(use, scope, request, after, context.now),
    );
    updated += portion.updated;
    for (const { t, i } of portion.apart) {
      const [result] = await writeAll(pool, t, [patchOf(i, request)], context);
      if (result?.status === 'patched') updated++;
    }
    const last = portion.apart.at(-1);
    if (last === undefined || portion.apart.length < MAX_APART) return updated;
    after = last._id;
  }
}

/** Updates what stands behind `after`, up to the last of those that are left out when there are more. */
async function updateFrom(
  use: MongoUse,
  scope: Scope,
  request: UpdateRequest,
  after: string,
  now: Date,
): Promise<Portion> {
  const collection = records(use, request.collection);
  const patch = patchUpdate(use, request, now);
  const behind = after === '' ? [] : [{ _id: { $gt: after } }];
  const where = narrowed(whereLive(scope, request.filter, now), behind);
  const apart = await collection
    .find<Key>(patch === undefined ? where : narrowed(where, [{ $or: [...patch.apart] }]), {
      ...use.callBounds(),
      projection: { _id: 1, t: 1, i: 1 },
      sort: { _id: 1 },
      limit: MAX_APART,
      batchSize: MAX_APART,
    })
    .toArray();
  if (patch === undefined) return { updated: 0, apart };
  await dropExpiredBefore(use, scope, request, now);
  try {
    const filter = narrowed(where, [...patch.conditions, ...leavingOut(apart)]);
    const { matchedCount } = await use.nonAtomic(() =>
      despiteDeadlocks(() => collection.updateMany(filter, patch.update, use.callBounds())),
    );
    return { updated: matchedCount, apart };
  } catch (error) {
    throw uniqueError(use, error, [request]) ?? error;
  }
}

function leavingOut(apart: readonly Key[]): Document[] {
  const last = apart.at(-1);
  if (last === undefined) return [];
  const others = { _id: { $nin: apart.map(({ _id }) => _id) } };
  return apart.length < MAX_APART ? [others] : [others, { _id: { $lte: last._id } }];
}

function patchOf(id: string, { collection, filter, changes, expiresAt }: UpdateRequest): Write {
  const patch = { collection, id, kind: 'patch', changes, if: filter } as const;
  return expiresAt === undefined ? patch : { ...patch, expiresAt };
}
