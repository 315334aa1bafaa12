/** Queries: a cursor's ranges one after the other, each one range of an index. */
import type { Document } from '../../pools/mongo/operation-use.js';
import { hasType, isNullable, type Range, type RangeEnd, type SortKey } from '../../filter/cursor.js';
import type { FieldReference, FilterNode, Scalar } from '../../filter/syntax.js';
import type { MongoUse } from '../../pools/mongo/operation-use.js';
import type { CountRequest, FindRequest, JsonObject, RecordSchema, Scope, Stored } from '../backend.js';
import { type RecordDocument, toStored } from './document.js';
import { compileFilter, prefixGuards } from './filter.js';
import { despiteDeadlocks } from './fault.js';
import { fieldPath } from './keys.js';

export function collectionName(schema: RecordSchema): string {
  return `qm_${schema.name}`;
}

export function records(use: MongoUse, schema: RecordSchema) {
  return use.collection<RecordDocument>(collectionName(schema));
}

/** Live records of the scope that match. */
export function whereLive(scope: Scope, filter: FilterNode, now: Date): Document {
  const live = { x: { $gt: now } };
  const own = scope === 'all' ? live : { t: scope.tenant, ...live };
  const compiled = compileFilter(filter);
  return Object.keys(compiled).length === 0 ? own : { ...own, $and: [compiled] };
}

/** What `where` finds, and only where all of `terms` hold. */
export function narrowed(where: Document, terms: readonly Document[]): Document {
  if (terms.length === 0) return where;
  return { ...where, $and: [...((where['$and'] as readonly Document[] | undefined) ?? []), ...terms] };
}

/**
 * What has a value of another type than a key's, left by a process with an earlier declaration, has no place in the order and
 * is left out: servers would sort it by its own type, and an array by one of its elements.
 * @param terms further conditions, beside those of the request.
 */
export async function find(
  use: MongoUse,
  scope: Scope,
  request: FindRequest,
  now: Date,
  terms: readonly Document[] = [],
): Promise<Stored[]> {
  const found = await findAny(use, scope, request, now, terms);
  const keys = request.sort.filter(({ source }) => source === 'value');
  if (keys.length === 0 || found.every(({ value }) => keys.every((key) => hasPlace(value, key)))) return found;
  return findAny(use, scope, request, now, [...terms, ...keys.flatMap(placeTerms)]);
}

async function findAny(
  use: MongoUse,
  scope: Scope,
  request: FindRequest,
  now: Date,
  terms: readonly Document[],
): Promise<Stored[]> {
  const { collection, filter, sort, ranges, limit } = request;
  const where = narrowed(whereLive(scope, filter, now), terms);
  const order = new Map<string, 1 | -1>(sort.map((key) => [fieldPath(key), key.direction === 'asc' ? 1 : -1]));
  if (scope === 'all') order.set('t', 1);
  const found: Stored[] = [];
  for (const range of ranges ?? [undefined]) {
    const missing = limit - found.length;
    if (missing <= 0) break;
    const condition = range === undefined ? where : narrowed(where, rangeTerms(range));
    const documents = await records(use, collection)
      .find(condition, {
        ...use.callBounds(),
        sort: order,
        limit: missing,
        batchSize: missing,
        ...withoutWords(collection),
      })
      .toArray();
    for (const document of documents) found.push(toStored(document));
  }
  return found;
}

function hasPlace(record: JsonObject, key: SortKey): boolean {
  let value: unknown = record;
  for (const segment of key.path) {
    if (typeof value !== 'object' || value === null) return true;
    if (Array.isArray(value)) return false;
    value = Object.hasOwn(value, segment) ? (value as JsonObject)[segment] : undefined;
  }
  return value === undefined || value === null || hasType(key, value);
}

const TYPES = { number: ['double', 'int', 'long'], boolean: ['bool'], string: ['string'], date: ['string'] };
const JSON_TYPES = ['array', 'object', ...TYPES.number, ...TYPES.boolean, ...TYPES.string];

function placeTerms(key: SortKey): Document[] {
  const others = JSON_TYPES.filter((type) => !TYPES[key.type].includes(type));
  return [{ [fieldPath(key)]: { $not: { $type: others } } }, ...prefixGuards(key.path)];
}

/** The words serve the search only, and can be longer than the value. */
export function withoutWords(schema: RecordSchema): { projection?: Document } {
  return schema.text.length === 0 ? {} : { projection: { w: 0 } };
}

function rangeTerms(range: Range): Document[] {
  const terms = range.equal.map(([key, value]) => ({ [fieldPath(key)]: bound(key, value) }));
  return [...terms, rangeEnd(range.last)];
}

function rangeEnd(end: RangeEnd): Document {
  const path = fieldPath(end.key);
  // Null matches what is missing, too: in an order they are one value.
  if (end.op === 'isNull') return { [path]: null };
  if (end.op === 'notNull') return isNullable(end.key) ? { [path]: { $gte: least(end.key) } } : {};
  return { [path]: { [`$${end.op}`]: bound(end.key, end.value) } };
}

function bound({ source, type }: FieldReference, value: Scalar): Scalar | Date {
  return source === 'envelope' && type === 'date' && typeof value === 'string' ? new Date(value) : value;
}

function least({ source, type }: SortKey): Scalar | Date {
  switch (type) {
    case 'number':
      return -Infinity;
    case 'boolean':
      return false;
    case 'string':
      return '';
    case 'date':
      return source === 'envelope' ? new Date(-8_640_000_000_000_000) : '';
  }
}

export async function count(
  use: MongoUse,
  scope: Scope,
  { collection, filter, limit }: CountRequest,
  now: Date,
): Promise<number> {
  const bounds = limit === undefined ? use.callBounds() : { ...use.callBounds(), limit };
  return records(use, collection).countDocuments(whereLive(scope, filter, now), bounds);
}

export async function deleteMany(
  use: MongoUse,
  scope: Scope,
  { collection, filter, limit }: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
  now: Date,
): Promise<number> {
  return deleteWhere(use, collection, whereLive(scope, filter, now), limit);
}

export async function sweep(use: MongoUse, schema: RecordSchema, before: Date, limit: number): Promise<number> {
  return deleteWhere(use, schema, { e: { $lte: before } }, limit, { e: 1 });
}

/** Servers have no limit for a deletion: the ids are read first, and the condition is asked again. */
async function deleteWhere(
  use: MongoUse,
  schema: RecordSchema,
  where: Document,
  limit: number,
  sort?: Document,
): Promise<number> {
  const collection = records(use, schema);
  for (let deleted = 0; ;) {
    const wanted = limit - deleted;
    const options = { ...use.callBounds(), projection: { _id: 1 }, limit: wanted, batchSize: wanted };
    const found = await collection.find(where, sort === undefined ? options : { ...options, sort }).toArray();
    if (found.length === 0) return deleted;
    const filter = { ...where, _id: { $in: found.map(({ _id }) => _id) } };
    deleted += (await despiteDeadlocks(() => collection.deleteMany(filter, use.callBounds()))).deletedCount;
    // Others may have been faster with some of them: there can be more that match.
    if (found.length < wanted || deleted === limit) return deleted;
  }
}
