/** Which tenants a store has records of. */
import type { RecordSchema, Stored } from '../../backends/backend.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import type { FilterNode } from '../../filter/syntax.js';
import type { SortKey } from '../../filter/cursor.js';
import { countedTenants, MOST_TENANTS } from '../counted-tenants.js';

/** Where nothing is ordered by id over all tenants, each page looks at every record there is. */
const PAGE = 1_000;
const ID = { source: 'envelope', path: ['id'], type: 'string' } as const;
const BY_ID: readonly SortKey[] = [{ ...ID, direction: 'asc' }];

/** Those that have records in a collection: as the backend counts them, else from pages of it in the order of their ids. */
export async function findTenants(
  host: CollectionHost,
  collection: RecordSchema,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const { backend } = host;
  const counted = await runOperation(host, [collection], 'retain', { signal }, (context) =>
    countedTenants(backend, collection, context),
  );
  if (counted !== undefined && counted.length < MOST_TENANTS) return new Set(counted);
  const tenants = new Set<string>();
  let last: string | undefined;
  for (let limit = PAGE; ;) {
    // Again from the last id: another tenant may have the same one.
    const nodes: FilterNode[] = last === undefined ? [] : [{ op: 'gte', field: ID, value: last }];
    const request = { collection, filter: { op: 'and', nodes } as const, sort: BY_ID, limit };
    const found: Stored[] = await runOperation(host, [collection], 'retain', { signal }, (context) =>
      backend.find('all', request, context),
    );
    for (const { tenant } of found) tenants.add(tenant);
    if (found.length < limit) return tenants;
    // More tenants have this one id than fit a page: a greater one.
    limit = found.at(-1)!.id === last ? 2 * limit : PAGE;
    last = found.at(-1)!.id;
  }
}
