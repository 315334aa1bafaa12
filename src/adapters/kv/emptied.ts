/** Deletes the counters that have nothing to count: one that is missing begins with a count when it is written next. */
import type { RecordBackend } from '../../backends/backend.js';
import type { CollectionDefinition } from '../../collection/definition.js';
import { groupBy } from '../../collection/group-by.js';
import type { OperationContext } from '../../component.js';
import { parseSort } from '../../filter/cursor.js';
import { normalize } from '../../filter/normalize.js';
import { parseFilter } from '../../filter/syntax.js';

const STEP = 500;
/** Milliseconds from one look to the next: each goes through every counter that there is. */
const INTERVAL = 3_600_000;

/** When the last look was that left nothing, by database opened. */
const LAST_FULL_LOOK = new WeakMap<RecordBackend, number>();

/**
 * Deletes up to `limit` counters that are 0 and were written at `before` or earlier; gives the number. Where a writer was
 * faster the whole step stays, for the next time.
 * @param kept the id of those that stay
 */
export async function deleteEmptied(
  { schema, domain }: Pick<CollectionDefinition<unknown>, 'schema' | 'domain'>,
  kept: string,
  backend: RecordBackend,
  before: Date,
  limit: number,
  context: OperationContext,
): Promise<number> {
  const now = context.now.getTime();
  const last = LAST_FULL_LOOK.get(backend);
  // After a clock that was ahead once, and was set right since, it would be long until then.
  if (last !== undefined && now >= last && now < last + INTERVAL) return 0;
  const filter = normalize(parseFilter({ bytes: 0, updatedAt: { $lte: before } }, domain));
  const request = { collection: schema, filter, sort: parseSort(undefined, domain), limit };
  const found = await backend.find('all', request, context);
  if (found.length < limit) LAST_FULL_LOOK.set(backend, now);
  const emptied = found.filter(({ id }) => id !== kept);
  let deleted = 0;
  for (const [tenant, counters] of groupBy(emptied, (counter) => counter.tenant))
    for (let i = 0; i < counters.length; i += STEP) {
      const writes = counters.slice(i, i + STEP).map(({ id, version, createdAt }) => {
        const same = { ifVersion: version, ifCreatedAt: createdAt };
        return { collection: schema, kind: 'delete', returns: false, id, ...same } as const;
      });
      const results = await backend.write({ tenant }, writes, context);
      deleted += results.filter(({ status }) => status === 'deleted').length;
    }
  return deleted;
}
