/** Unique constraints: the index is the database's, the name is the collection's. */
import { ConflictError } from '../../errors.js';
import type { Write } from '../backend.js';
import type { Dialect } from './dialect.js';
import type { Violation } from './fault.js';
import { tablePlan } from './table-plan.js';

export function uniqueError(
  dialect: Dialect,
  { index }: Violation,
  writes: readonly Write[],
  cause: unknown,
): ConflictError {
  for (const { collection } of writes) {
    const constraint = index === undefined ? undefined : tablePlan(dialect, collection).unique.get(index)?.constraint;
    if (constraint === undefined) continue;
    return new ConflictError(
      'ALREADY_EXISTS',
      `Another record of ${collection.name} has the values of the unique constraint ${constraint}`,
      { operation: 'write', details: { constraint, collection: collection.name }, cause },
    );
  }
  return new ConflictError('ALREADY_EXISTS', 'Another record has the values of a unique constraint', {
    operation: 'write',
    details: { constraint: index },
    cause,
  });
}
