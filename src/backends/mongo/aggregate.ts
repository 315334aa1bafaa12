/** Counts and sums in the database. */
import type { Document, MongoUse } from '../../pools/mongo/operation-use.js';
import type { FieldReference, Scalar } from '../../filter/syntax.js';
import type { AggregateGroup, AggregateRequest, NumberSummary, Scope } from '../backend.js';
import { records, whereLive } from './find.js';
import { fieldPath } from './keys.js';

export async function aggregate(
  use: MongoUse,
  scope: Scope,
  { collection, filter, by, numbers, limit }: AggregateRequest,
  now: Date,
): Promise<AggregateGroup[]> {
  const key = Object.fromEntries(by.map((field, i) => [`k${i}`, valueOf(field)]));
  const stages = [
    { $match: whereLive(scope, filter, now) },
    {
      $group: {
        _id: key,
        count: { $sum: 1 },
        ...Object.fromEntries(numbers.flatMap((field, i) => Object.entries(summaryOf(valueOf(field), i)))),
      },
    },
    { $limit: limit },
  ];
  const groups = await records(use, collection)
    .aggregate<Document>(stages, { ...use.callBounds(), batchSize: limit + 1 })
    .toArray();
  return groups.map((group) => ({
    key: by.map((_, i) => (group['_id'] as Record<string, Scalar>)[`k${i}`]!),
    count: group['count'] as number,
    numbers: numbers.map((_, i) => readSummary(group, i)),
  }));
}

/** Null for what is missing or, in a record older than the declaration, of another type. */
function valueOf(field: FieldReference): Document {
  const path = `$${fieldPath(field)}`;
  switch (field.type) {
    case 'number':
      // As doubles: integers would be added exactly beyond 2^53.
      return { $cond: [{ $isNumber: path }, { $toDouble: path }, null] };
    case 'boolean':
      return { $cond: [{ $eq: [{ $type: path }, 'bool'] }, path, null] };
    default:
      return { $cond: [{ $eq: [{ $type: path }, 'string'] }, path, null] };
  }
}

function summaryOf(value: Document, place: number): Record<string, Document> {
  return {
    [`count${place}`]: { $sum: { $cond: [{ $eq: [value, null] }, 0, 1] } },
    [`sum${place}`]: { $sum: value },
    [`min${place}`]: { $min: value },
    [`max${place}`]: { $max: value },
  };
}

function readSummary(group: Document, place: number): NumberSummary {
  const count = group[`count${place}`] as number;
  const sum = group[`sum${place}`] as number;
  if (count === 0) return { count, sum };
  return { count, sum, min: group[`min${place}`] as number, max: group[`max${place}`] as number };
}
