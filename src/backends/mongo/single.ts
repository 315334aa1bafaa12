/** One write outside of transactions: one atomic step of the server, and a read only to say why it was refused. */
import { ConflictError } from '../../errors.js';
import type { Document, MongoUse } from '../../pools/mongo/operation-use.js';
import type { RecordSchema, SameRecord, Stored, Write, WriteResult } from '../backend.js';
import { isRefused, planWrite } from '../plan.js';
import {
  contentOf,
  documentId,
  type RecordDocument,
  replacing,
  toDocument,
  toStored,
  unsetMissing,
} from './document.js';
import { ID_INDEX } from './fault.js';
import { all } from './filter.js';
import { records, withoutWords } from './find.js';
import { type PatchWrite, patchUpdate } from './patch.js';
import { readOne } from './read.js';

/** How often a write is tried whose condition holds again each time it is asked why it was refused. */
const ATTEMPTS = 50;

export async function writeOne(use: MongoUse, tenant: string, write: Write, now: Date): Promise<WriteResult> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const result = await attemptWrite(use, tenant, write, now, attempt === 0);
    if (result !== undefined) return result;
    const met = await readOne(use, tenant, write, now);
    const { result: refusal, row } = planWrite(met, tenant, write, now);
    if (isRefused(refusal)) return refusal;
    if (write.kind !== 'patch' || row === undefined) continue;
    // The changes fit, but are none that one update makes, or there is nothing to change yet.
    const written = met === undefined ? await insert(use, write, row, now) : await exchange(use, write, met, row);
    if (written) return refusal;
  }
  throw new ConflictError('CONFLICT', 'The record changed at every attempt to write it', {
    operation: 'write',
    retryable: true,
  });
}

function attemptWrite(
  use: MongoUse,
  tenant: string,
  write: Write,
  now: Date,
  first: boolean,
): Promise<WriteResult | undefined> {
  switch (write.kind) {
    case 'insert':
      return attemptInsert(use, tenant, write, now);
    case 'put':
      return attemptPut(use, tenant, write, now, first);
    case 'replace':
      return attemptReplace(use, tenant, write, now);
    case 'delete':
      return attemptDelete(use, tenant, write, now);
    case 'patch':
      return attemptPatch(use, tenant, write, now);
  }
}

async function attemptInsert(
  use: MongoUse,
  tenant: string,
  write: Extract<Write, { kind: 'insert' }>,
  now: Date,
): Promise<WriteResult | undefined> {
  const { result, row } = planWrite(undefined, tenant, write, now);
  return (await insert(use, write, row!, now)) ? result : undefined;
}

/** Whether there was no live record: an expired one is replaced. */
async function insert(use: MongoUse, write: Write, row: Stored, now: Date): Promise<boolean> {
  const { _id, ...document } = toDocument(write.collection, row);
  const collection = records(use, write.collection);
  try {
    await collection.insertOne({ _id, ...document }, use.callBounds());
    return true;
  } catch (error) {
    // Of two indexes that have the key, servers name any: that of the id decides.
    if (!(await isThere(use, write.collection, _id, error))) throw error;
  }
  const { matchedCount } = await collection.replaceOne({ _id, x: { $lte: now } }, document, use.callBounds());
  return matchedCount === 1;
}

/** Whether `error` says that the id is there, or some index that has the same document. */
async function isThere(use: MongoUse, collection: RecordSchema, _id: string, error: unknown): Promise<boolean> {
  const index = use.duplicateIndex(error);
  if (index === undefined || index === ID_INDEX) return index === ID_INDEX;
  return (await records(use, collection).findOne({ _id }, { ...use.callBounds(), projection: { _id: 1 } })) !== null;
}

async function attemptPut(
  use: MongoUse,
  tenant: string,
  write: Extract<Write, { kind: 'put' }>,
  now: Date,
  first: boolean,
): Promise<WriteResult | undefined> {
  if (use.transactions === 'none') return attemptPutInTwo(use, tenant, write, now);
  const { collection, id, value, createdAt, expiresAt } = write;
  const _id = documentId(tenant, id);
  const { v, w, ...content } = contentOf(collection, value, expiresAt);
  const ifLive = (then: unknown, otherwise: unknown): Document => ({ $cond: [{ $gt: ['$x', now] }, then, otherwise] });
  const document = {
    ...{ _id: { $literal: _id }, t: { $literal: tenant }, i: { $literal: id } },
    ...{ n: ifLive({ $add: ['$n', 1] }, 1), c: ifLive('$c', createdAt ?? now), u: now },
    ...content,
    ...(w === undefined ? {} : { w: { $literal: w } }),
    v: { $literal: v },
    m: '$m',
  };
  try {
    const written = await records(use, collection).findOneAndUpdate({ _id }, [{ $replaceWith: document }], {
      ...use.callBounds(),
      upsert: true,
      returnDocument: 'after',
      projection: { n: 1, c: 1 },
    });
    return writtenResult(written);
  } catch (error) {
    // Two that each found nothing to update.
    if (first && (await isThere(use, collection, _id, error))) return undefined;
    throw error;
  }
}

/** FerretDB tells of an upsert that met another that it inserted, though it updated. */
async function attemptPutInTwo(
  use: MongoUse,
  tenant: string,
  { createdAt, ...write }: Extract<Write, { kind: 'put' }>,
  now: Date,
): Promise<WriteResult | undefined> {
  const replaced = await attemptReplace(use, tenant, { ...write, kind: 'replace' }, now);
  if (replaced !== undefined) return replaced;
  const dated = createdAt === undefined ? {} : { createdAt };
  return attemptInsert(use, tenant, { ...write, ...dated, kind: 'insert' }, now);
}

async function attemptReplace(
  use: MongoUse,
  tenant: string,
  { collection, id, value, expiresAt, ...conditions }: Extract<Write, { kind: 'replace' }>,
  now: Date,
): Promise<WriteResult | undefined> {
  const content = contentOf(collection, value, expiresAt);
  const update = {
    $set: { ...content, u: now },
    $unset: unsetMissing(content),
    $inc: { n: 1 },
  };
  const filter = { _id: documentId(tenant, id), x: { $gt: now }, ...same(conditions) };
  const options = { ...use.callBounds(), returnDocument: 'after', projection: { n: 1, c: 1 } } as const;
  return writtenResult(await records(use, collection).findOneAndUpdate(filter, update, options));
}

async function attemptDelete(
  use: MongoUse,
  tenant: string,
  { collection, id, ...conditions }: Extract<Write, { kind: 'delete' }>,
  now: Date,
): Promise<WriteResult | undefined> {
  const filter = { _id: documentId(tenant, id), x: { $gt: now }, ...same(conditions) };
  const options = { ...use.callBounds(), ...withoutWords(collection) };
  const document = await records(use, collection).findOneAndDelete(filter, options);
  return document === null ? undefined : { status: 'deleted', record: toStored(document) };
}

function same({ ifVersion, ifCreatedAt }: SameRecord): Partial<Pick<RecordDocument, 'n' | 'c'>> {
  return {
    ...(ifVersion === undefined ? {} : { n: ifVersion }),
    ...(ifCreatedAt === undefined ? {} : { c: ifCreatedAt }),
  };
}

async function attemptPatch(
  use: MongoUse,
  tenant: string,
  write: PatchWrite,
  now: Date,
): Promise<WriteResult | undefined> {
  const patch = patchUpdate(use, write, now);
  if (patch === undefined) return undefined;
  const filter = { _id: documentId(tenant, write.id), x: { $gt: now }, ...all(patch.conditions) };
  const options = { ...use.callBounds(), returnDocument: 'after', ...withoutWords(write.collection) } as const;
  const document = await records(use, write.collection).findOneAndUpdate(filter, patch.update, options);
  return document === null ? undefined : { status: 'patched', record: toStored(document) };
}

/** Whether the record was still the one that was read. */
async function exchange(use: MongoUse, write: Write, met: Stored, row: Stored): Promise<boolean> {
  const filter = { _id: documentId(row.tenant, row.id), n: met.version, c: met.createdAt };
  const update = replacing(write.collection, row);
  const { matchedCount } = await records(use, write.collection).updateOne(filter, update, use.callBounds());
  return matchedCount === 1;
}

function writtenResult(document: Pick<RecordDocument, 'n' | 'c'> | null): WriteResult | undefined {
  return document === null ? undefined : { status: 'written', version: document.n, createdAt: document.c };
}
