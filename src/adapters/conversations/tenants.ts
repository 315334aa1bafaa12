/** Whose conversations there are. */
import type { CallOptions } from '../../component.js';
import { LIBRARY } from '../../collection/library.js';
import { ALL } from '../../filter/syntax.js';
import { countedTenants } from '../counted-tenants.js';
import { DeletionStore } from './deletions.js';
import { READ_OPTIONS } from './input.js';
import { CONVERSATIONS } from './records.js';

export abstract class TenantsStore extends DeletionStore {
  /**
   * The tenants that have conversations, by name; at most a million. The manager's own store only; it goes over all conversations, in one
   * statement. @throws `VALIDATION` for a tenant's store
   */
  async listTenants(options: CallOptions = {}): Promise<string[]> {
    const call = READ_OPTIONS(options, 'options');
    this.requireAll('listTenants');
    const { backend } = this.host;
    const { schema } = CONVERSATIONS;
    // Of no tenant: it works where every call needs one, too.
    return this.at(this.host.of(LIBRARY.tenant)).run('listTenants', call, async (context) => {
      // Where nothing is counted for us, the records are in this process anyway.
      const request = { collection: schema, filter: ALL, sort: [], limit: Number.MAX_SAFE_INTEGER };
      const tenants =
        (await countedTenants(backend, schema, context)) ??
        (await backend.find('all', request, context)).map(({ tenant }) => tenant);
      return [...new Set(tenants)].sort();
    });
  }
}
