/** Documents that stand against a declaration: counted, and the first of them named. */
import type { Document, MongoUse } from '../../pools/mongo/operation-use.js';
import type { FieldSchema, RecordSchema } from '../backend.js';
import { DATE_TEXT, fieldsRefused, idsRefused, SHOWN_RECORDS, uniqueRefused } from '../declaration.js';
import { SEQUENCE_ID } from '../sequence-id.js';
import type { RecordDocument } from './document.js';
import { records } from './find.js';
import { bsonType, type UniquePart } from './indexes.js';
import { valuePath } from './keys.js';

/** @throws `MIGRATION` when live records have ids of the other form. */
export async function checkIds(use: MongoUse, schema: RecordSchema, now: Date): Promise<void> {
  const collection = records(use, schema);
  const numbered = { $regex: SEQUENCE_ID };
  const where = { x: { $gt: now }, i: schema.numbered === true ? { $not: numbered } : numbered };
  const count = await collection.countDocuments(where, use.callBounds());
  if (count === 0) return;
  const first = await collection
    .find(where, { ...use.callBounds(), sort: { t: 1, i: 1 }, limit: SHOWN_RECORDS, projection: { t: 1, i: 1 } })
    .toArray();
  throw idsRefused(schema, { count, records: first.map(nameOf) });
}

/** @throws `MIGRATION` when live records do not fit the fields. */
export async function checkFields(
  use: MongoUse,
  schema: RecordSchema,
  fields: ReadonlyMap<string, FieldSchema>,
  now: Date,
): Promise<void> {
  if (fields.size === 0) return;
  const collection = records(use, schema);
  const misfits = [...fields].map(([path, field]) => ({ path, any: misfit(path.split('.'), field) }));
  const where = { x: { $gt: now }, $or: misfits.flatMap(({ any }) => any) };
  const count = await collection.countDocuments(where, use.callBounds());
  if (count === 0) return;
  const sample = await collection
    .find(where, { ...use.callBounds(), sort: { t: 1, i: 1 }, limit: SHOWN_RECORDS, projection: { t: 1, i: 1 } })
    .toArray();
  const broken: Record<string, number> = {};
  for (const { path, any } of misfits) {
    const own = await collection.countDocuments({ x: { $gt: now }, $or: any }, use.callBounds());
    if (own > 0) broken[path] = own;
  }
  throw fieldsRefused(schema, { count, records: sample.map(nameOf) }, broken);
}

function misfit(path: readonly string[], { type, maxBytes }: FieldSchema): Document[] {
  const at = valuePath(path);
  // A condition on a type asks the elements of an array too.
  const terms: Document[] = path.map((_, n) => ({ [valuePath(path.slice(0, n + 1))]: { $type: 'array' } }));
  terms.push({ [at]: { $exists: true, $not: { $type: [bsonType(type), 'null'] } } });
  if (type === 'date') terms.push({ [at]: { $type: 'string', $not: { $regex: DATE_TEXT } } });
  if (type === 'string') {
    const text = { $cond: [{ $eq: [{ $type: `$${at}` }, 'string'] }, `$${at}`, ''] };
    terms.push({ $expr: { $gt: [{ $strLenBytes: text }, maxBytes] } });
  }
  return terms;
}

/** @throws `MIGRATION` when live records have the same values of the constraint. */
export async function checkUnique(
  use: MongoUse,
  schema: RecordSchema,
  { index, constraint, paths }: UniquePart,
  now: Date,
): Promise<void> {
  const collection = records(use, schema);
  const live = { x: { $gt: now }, ...index.partialFilterExpression };
  const keys = Object.fromEntries(paths.map((path, i) => [`k${i}`, `$${valuePath(path)}`]));
  const stages = [
    { $match: live },
    { $group: { _id: { t: '$t', ...keys }, n: { $sum: 1 } } },
    { $match: { n: { $gt: 1 } } },
  ];
  const options = { ...use.callBounds(), allowDiskUse: true };
  const total = [...stages, { $group: { _id: null, count: { $sum: '$n' } } }];
  const [counted] = await collection.aggregate<{ count: number }>(total, options).toArray();
  if (counted === undefined) return;
  const first = [...stages, { $sort: { _id: 1 } }, { $limit: SHOWN_RECORDS }];
  const groups = await collection.aggregate<{ _id: Record<string, unknown> }>(first, options).toArray();
  const same = groups.map(({ _id }) => ({
    t: _id['t'],
    ...Object.fromEntries(paths.map((path, i) => [valuePath(path), { $eq: _id[`k${i}`] }])),
  }));
  const found = await collection
    .find({ x: { $gt: now }, $or: same } as Document, { ...use.callBounds(), projection: { t: 1, i: 1 } })
    .sort({ t: 1, i: 1 })
    .limit(SHOWN_RECORDS)
    .toArray();
  throw uniqueRefused(schema, constraint, { count: counted.count, records: found.map(nameOf) });
}

function nameOf({ t, i }: Pick<RecordDocument, 't' | 'i'>): { tenant: string; id: string } {
  return { tenant: t, id: i };
}
