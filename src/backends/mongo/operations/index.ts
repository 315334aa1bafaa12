/** The operations of MongoDB and of servers of its protocol. */
import type { OperationContext } from '../../../component.js';
import { NotFoundError } from '../../../errors.js';
import type { MongoUse } from '../../../pools/mongo/operation-use.js';
import type { MongoPool } from '../../../pools/mongo/pool.js';
import type { BackendOperations, CheckedOptions, IntegrityReport } from '../../operations.js';
import { currentOperations } from './activity.js';
import { collectionNames, collectionOf, databaseSize, indexes, stats, tables } from './sizes.js';

const LIMIT = 100;

/** Of one collection of records, or of all of the database. @throws `NOT_FOUND` */
async function namesOf(use: MongoUse, collection: string | undefined, component: string): Promise<string[]> {
  const all = await collectionNames(use);
  if (collection === undefined) return all;
  const own = all.filter((name) => collectionOf(name) === collection);
  if (own.length > 0) return own;
  throw new NotFoundError(`The collection ${collection} has no table`, { component, details: { collection } });
}

async function validate(
  use: MongoUse,
  full: boolean,
  names: readonly string[],
  limit: number,
): Promise<IntegrityReport> {
  const { signal, maxTimeMS } = use.callBounds();
  const faults: string[] = [];
  let ok = true;
  for (const name of names) {
    const answer = await use.db.command({ validate: name, full, maxTimeMS }, { signal });
    if (answer['valid'] === true) continue;
    ok = false;
    const errors = answer['errors'] as readonly string[];
    faults.push(...(errors.length === 0 ? ['it is not valid'] : errors).map((error) => `${name}: ${error}`));
  }
  return { ok, faults: faults.slice(0, limit) };
}

export function mongoOperations(pool: MongoPool): BackendOperations {
  const check = (
    full: boolean,
    { collection, limit = LIMIT }: CheckedOptions<'quickCheck'>,
    context: OperationContext,
  ): Promise<IntegrityReport> =>
    pool.run('validate', context, async (use) => validate(use, full, await namesOf(use, collection, pool.name), limit));
  return {
    stats: ({ exact = false }, context) => pool.read('stats', context, (use) => stats(use, exact)),
    databaseSize: (_options, context) => pool.read('databaseSize', context, databaseSize),
    tables: (_options, context) => pool.read('tables', context, tables),
    currentOperations: ({ longerThan = 0 }, context) =>
      pool.read('currentOperations', context, (use) => currentOperations(use, longerThan, context.now)),
    integrityCheck: (options, context) => check(true, options, context),
    quickCheck: (options, context) => check(false, options, context),
    indexes: ({ collection }, context) =>
      pool.read('indexes', context, async (use) => indexes(use, await namesOf(use, collection, pool.name))),
    unusedIndexes: ({ collection }, context) =>
      pool.read('unusedIndexes', context, async (use) =>
        (await indexes(use, await namesOf(use, collection, pool.name))).filter(
          ({ uses, unique }) => uses === 0 && !unique,
        ),
      ),
  };
}
