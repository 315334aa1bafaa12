/** Unique constraints: what breaks one, and the expired records that still hold a key. */
import type { Document } from '../../pools/mongo/operation-use.js';
import { ConflictError } from '../../errors.js';
import { valueAt } from '../../filter/json.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { JsonObject, RecordSchema, Scope, Stored, UpdateRequest } from '../backend.js';
import { touchesUnique } from '../patch.js';
import { documentId } from './document.js';
import { despiteDeadlocks, ID_INDEX } from './fault.js';
import { records } from './find.js';
import { collectionPlan } from './indexes.js';
import { valuePath } from './keys.js';

/** Beyond it the records that expired are deleted whatever their keys. */
const MAX_KEYS = 100;

/** @returns `undefined` when `error` is not about a constraint of these collections. */
export function uniqueError(
  use: MongoUse,
  error: unknown,
  writes: readonly { readonly collection: RecordSchema }[],
): ConflictError | undefined {
  const name = use.duplicateIndex(error);
  if (name === undefined || name === ID_INDEX) return undefined;
  const collections = [...new Set(writes.map(({ collection }) => collection))];
  const known = collections.flatMap((collection) =>
    collectionPlan(collection).unique.map(({ index, constraint }) => ({ index, constraint, collection })),
  );
  // Not every server names the index in every answer: then only a lone constraint can be told.
  const broken = name === '' && known.length === 1 ? known[0] : known.find(({ index }) => index.name === name);
  if (broken === undefined && (name !== '' || known.length === 0)) return undefined;
  const constraint = broken?.constraint;
  const collection = (broken?.collection ?? collections[0])?.name;
  return new ConflictError(
    'ALREADY_EXISTS',
    `Another record of ${collection} has the values of ${constraint === undefined ? 'a unique constraint' : `the unique constraint ${constraint}`}`,
    { operation: 'write', details: { constraint, collection }, cause: error },
  );
}

/**
 * Deletes expired records of the tenant that hold a key which one of `rows` is to have.
 * @param rows `undefined`: they are not known, or the constraint is another process's, and every expired record of the tenant goes.
 */
export async function dropExpired(
  use: MongoUse,
  tenant: string,
  schema: RecordSchema,
  rows: readonly Stored[] | undefined,
  now: Date,
): Promise<void> {
  if (schema.unique.length === 0 && rows !== undefined) return;
  const expired = { t: tenant, e: { $lte: now } };
  const keys = rows?.flatMap((row) => keysOf(schema, row.value));
  if (keys?.length === 0) return;
  const held = keys === undefined || keys.length > MAX_KEYS ? expired : { ...expired, $or: keys };
  const own = (rows ?? []).map((row) => documentId(tenant, row.id));
  const filter = { ...held, _id: { $nin: own } };
  await despiteDeadlocks(() => records(use, schema).deleteMany(filter, use.callBounds()));
}

/**
 * Deletes every expired record of the scope when the changes touch a constraint: of an update of many that was refused half
 * of it is made.
 */
export async function dropExpiredBefore(
  use: MongoUse,
  scope: Scope,
  { collection, changes }: Pick<UpdateRequest, 'collection' | 'changes'>,
  now: Date,
): Promise<void> {
  if (!touchesUnique(collection, changes)) return;
  const expired = { e: { $lte: now } };
  const filter = scope === 'all' ? expired : { t: scope.tenant, ...expired };
  await despiteDeadlocks(() => records(use, collection).deleteMany(filter, use.callBounds()));
}

function keysOf(schema: RecordSchema, value: JsonObject): Document[] {
  return collectionPlan(schema).unique.flatMap(({ paths }) => {
    const values = paths.map((path) => valueAt(value, path));
    if (values.some((part) => part === undefined || part === null)) return [];
    return [Object.fromEntries(paths.map((path, i) => [valuePath(path), { $eq: values[i] }]))];
  });
}
