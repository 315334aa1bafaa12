/**
 * Claims: the first that match are read and changed in this process, and written all at once, each under the version that
 * was read. Servers tell how many of them were written and not which: where it is not all, a mark in the documents does.
 */
import { randomBytes } from 'node:crypto';
import { serializationFailure } from '../../errors.js';
import { compareText } from '../../filter/evaluate.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { ClaimRequest, Scope, Stored } from '../backend.js';
import { LIMITS } from '../limits.js';
import { planWrite } from '../plan.js';
import { copyJson } from '../value.js';
import { documentId, type RecordDocument, replacing } from './document.js';
import { despiteDeadlocks } from './fault.js';
import { find, records } from './find.js';
import { patchUpdate } from './patch.js';
import { dropExpiredBefore, uniqueError } from './unique.js';

const MARK_BYTES = 12;

/** Of the last claims: one that looks for its marks finds them, though others have taken the same records since. */
const MARKS = 4;

export async function claim(use: MongoUse, scope: Scope, request: ClaimRequest, now: Date): Promise<Stored[]> {
  const { collection, filter, sort, limit } = request;
  const patch = patchUpdate(use, request, now);
  // What the changes do not fit would be read again by every claim.
  const fits = patch === undefined ? [] : [{ $or: [{ $and: [...patch.conditions] }, ...patch.apart] }];
  await dropExpiredBefore(use, scope, request, now);
  const claimed: Stored[] = [];
  const tried: string[] = [];
  for (let more = 1; ; more *= 2) {
    // Claims that meet go on through what they have found: to be written in vain costs less than to be found again.
    const wanted = Math.min(more * (limit - claimed.length), LIMITS.pageItems);
    const others = tried.length === 0 ? fits : [...fits, { _id: { $nin: tried } }];
    try {
      const found = await find(use, scope, { collection, filter, sort, limit: wanted }, now, others);
      for (let start = 0; start < found.length && claimed.length < limit;) {
        const portion = found.slice(start, start + limit - claimed.length);
        for (const record of await take(use, request, portion, now)) claimed.push(record);
        start += portion.length;
      }
      if (found.length < wanted || claimed.length === limit) return claimed;
      for (const record of found) tried.push(keyOf(record));
    } catch (error) {
      // What is taken already must be told, or it would be nobody's.
      if (claimed.length === 0 || use.inTransaction) throw error;
      return claimed;
    }
  }
}

/** Those of `found` that are ours, as they are then. */
async function take(use: MongoUse, request: ClaimRequest, found: readonly Stored[], now: Date): Promise<Stored[]> {
  const { collection, changes, expiresAt } = request;
  const expiry = expiresAt === undefined ? {} : { expiresAt };
  const rows = found.flatMap((record) => {
    const write = { collection, id: record.id, kind: 'patch', changes, ...expiry } as const;
    const { row } = planWrite(record, record.tenant, write, now);
    return row === undefined ? [] : [{ met: record, row }];
  });
  if (rows.length === 0) return [];
  // In one order for all claims: a server that locks them one by one would have two wait for each other.
  rows.sort((a, b) => compareText(keyOf(a.row), keyOf(b.row)));
  const mark = randomBytes(MARK_BYTES).toString('base64');
  const operations = rows.map(({ met, row }) => ({
    updateOne: {
      filter: { _id: keyOf(row), n: met.version, c: met.createdAt },
      update: { ...replacing(collection, row), $push: { m: { $each: [mark], $slice: -MARKS } } },
    },
  }));
  const own = rows.map(({ row }) => ({ ...row, value: copyJson(row.value) }));
  try {
    const options = { ...use.callBounds(), ordered: true };
    // What one attempt has written is not met by the next: the marks tell it all the same.
    const { matchedCount } = await despiteDeadlocks(() => records(use, collection).bulkWrite(operations, options));
    if (matchedCount === operations.length) return own;
  } catch (error) {
    const refusal = uniqueError(use, error, [{ collection }]);
    if (use.inTransaction || (refusal === undefined && !use.isLostAnswer(error))) throw refusal ?? error;
    // Those before the one that was refused are written, and all of them may be where the answer was lost.
    const written = await marked(use, request, own, mark).catch((reason: unknown) => {
      throw refusal === undefined ? error : reason;
    });
    if (written.length === 0) throw refusal ?? error;
    return written;
  }
  if (use.inTransaction) throw serializationFailure('claim');
  return own.length === 1 ? [] : marked(use, request, own, mark);
}

/** Those of `own` whose documents have the mark. */
async function marked(
  use: MongoUse,
  { collection }: ClaimRequest,
  own: readonly Stored[],
  mark: string,
): Promise<Stored[]> {
  const documents = await records(use, collection)
    .find<Pick<RecordDocument, '_id'>>(
      { _id: { $in: own.map(keyOf) }, m: mark },
      { ...use.callBounds(), projection: { _id: 1 }, batchSize: own.length + 1 },
    )
    .toArray();
  const ours = new Set(documents.map(({ _id }) => _id));
  return own.filter((record) => ours.has(keyOf(record)));
}

function keyOf({ tenant, id }: Stored): string {
  return documentId(tenant, id);
}
