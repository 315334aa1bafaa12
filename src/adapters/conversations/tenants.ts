/** Whose conversations there are. */
import type { CallOptions } from '../../component.js';
import { knownFields } from '../../filter/fields.js';
import { normalize } from '../../filter/normalize.js';
import { parseFilter } from '../../filter/syntax.js';
import { DeletionStore } from './deletions.js';
import { READ_OPTIONS } from './input.js';
import { CONVERSATIONS } from './records.js';

const TENANT = knownFields(CONVERSATIONS.domain).get('tenant')!;
/** More tenants than these are not told. */
const MOST = 1_000_000;

export abstract class TenantsStore extends DeletionStore {
  /**
   * The tenants that have conversations, by name; at most a million. The manager's own store only; it goes over all conversations, in one
   * statement. @throws `VALIDATION` for a tenant's store
   */
  async listTenants(options: CallOptions = {}): Promise<string[]> {
    const call = READ_OPTIONS(options, 'options');
    this.requireAll('listTenants');
    const { backend } = this.host;
    const { schema, domain } = CONVERSATIONS;
    const request = { collection: schema, filter: normalize(parseFilter({}, domain)) };
    return this.run('listTenants', call, async (context) => {
      const groups = await backend.aggregate?.('all', { ...request, by: [TENANT], numbers: [], limit: MOST }, context);
      // Where nothing is counted for us, the records are in this process anyway.
      const tenants =
        groups === undefined
          ? (await backend.find('all', { ...request, sort: [], limit: Number.MAX_SAFE_INTEGER }, context)).map(
              ({ tenant }) => tenant,
            )
          : groups.map(({ key }) => key[0] as string);
      return [...new Set(tenants)].sort();
    });
  }
}
