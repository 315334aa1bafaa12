/** Unique constraints: what breaks one, and the expired records that still hold a key. */
import type { Document } from '../../pools/mongo/pool.js';
import { ConflictError } from '../../errors.js';
import { valueAt } from '../../filter/json.js';
import type { MongoUse } from '../../pools/mongo/pool.js';
import type { JsonObject, RecordSchema, Stored, Write } from '../backend.js';
import { documentId } from './document.js';
import { duplicateIndex, ID_INDEX } from './fault.js';
import { records } from './find.js';
import { collectionPlan } from './indexes.js';
import { valuePath } from './keys.js';

/** Beyond it the records that expired are deleted whatever their keys. */
const MAX_KEYS = 100;

/** @returns `undefined` when `error` is not about a constraint of these collections. */
export function uniqueError(error: unknown, writes: readonly Write[]): ConflictError | undefined {
  const name = duplicateIndex(error);
  if (name === undefined || name === ID_INDEX) return undefined;
  for (const { collection } of writes) {
    const broken = collectionPlan(collection).unique.find(({ index }) => index.name === name);
    if (broken === undefined) continue;
    const { constraint } = broken;
    return new ConflictError(
      'ALREADY_EXISTS',
      `Another record of ${collection.name} has the values of the unique constraint ${constraint}`,
      { operation: 'write', details: { constraint, collection: collection.name }, cause: error },
    );
  }
  return undefined;
}

/**
 * Deletes expired records of the tenant that hold a key which one of `rows` is to have.
 * @param rows `undefined`: they are not known, and every expired record of the tenant goes.
 */
export async function dropExpired(
  use: MongoUse,
  tenant: string,
  schema: RecordSchema,
  rows: readonly Stored[] | undefined,
  now: Date,
): Promise<void> {
  if (schema.unique.length === 0) return;
  const expired = { t: tenant, e: { $lte: now } };
  const keys = rows?.flatMap((row) => keysOf(schema, row.value));
  if (keys?.length === 0) return;
  const held = keys === undefined || keys.length > MAX_KEYS ? expired : { ...expired, $or: keys };
  const own = (rows ?? []).map((row) => documentId(tenant, row.id));
  await records(use, schema).deleteMany({ ...held, _id: { $nin: own } }, use.bounds);
}

function keysOf(schema: RecordSchema, value: JsonObject): Document[] {
  return collectionPlan(schema).unique.flatMap(({ paths }) => {
    const values = paths.map((path) => valueAt(value, path));
    if (values.some((part) => part === undefined || part === null)) return [];
    return [Object.fromEntries(paths.map((path, i) => [valuePath(path), { $eq: values[i] }]))];
  });
}
