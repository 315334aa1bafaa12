/** Unique constraints: the index is the database's, the name is the collection's. */
import { ConflictError } from '../../errors.js';
import type { RecordSchema } from '../backend.js';
import type { Dialect } from './dialect.js';
import type { Violation } from './fault.js';
import { tablePlan } from './table-plan.js';

export function uniqueError(
  dialect: Dialect,
  { index }: Violation,
  targets: readonly { readonly collection: RecordSchema }[],
  cause: unknown,
): ConflictError {
  const collections = [...new Set(targets.map(({ collection }) => collection))];
  for (const collection of collections) {
    const constraint = index === undefined ? undefined : nameOf(dialect, collection, index, collections.length === 1);
    if (constraint === undefined) continue;
    return new ConflictError(
      'ALREADY_EXISTS',
      `Another record of ${collection.name} has the values of the unique constraint ${constraint}`,
      { operation: 'write', details: { constraint, collection: collection.name }, cause },
    );
  }
  // It was declared once, or is by another process.
  const names = collections.map(({ name }) => name).join(' or ');
  return new ConflictError(
    'ALREADY_EXISTS',
    `Another record of ${names} has the values of a unique constraint that is not declared here (${index ?? 'unknown'}): storage.settle() drops those that are no longer declared`,
    { operation: 'write', details: { constraint: index }, cause },
  );
}

/** PostgreSQL names the indexes of a partition itself, by their columns. */
const OF_PARTITION = /_tenant_\w*idx\d*$/;

/** @param alone there is no other collection that it can be of. */
function nameOf(dialect: Dialect, collection: RecordSchema, index: string, alone: boolean): string | undefined {
  const { unique } = tablePlan(dialect, collection);
  const [only, ...others] = unique.values();
  const plan = unique.get(index) ?? (alone && others.length === 0 && OF_PARTITION.test(index) ? only : undefined);
  return plan?.constraint;
}
