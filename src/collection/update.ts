/** `updateMany` and `claim` for backends that have no faster form: found, then patched one by one under the filter. */
import type { ClaimRequest, RecordBackend, Stored, TenantScope, UpdateRequest, Write } from '../backends/backend.js';
import type { OperationContext } from '../component.js';
import { eachRecord } from './scan.js';

export async function updateDerived(
  backend: RecordBackend,
  scope: TenantScope,
  request: UpdateRequest,
  context: OperationContext,
): Promise<number> {
  let updated = 0;
  for await (const record of eachRecord(backend, scope, request, context)) {
    const [result] = await backend.write(scope, [patchOf(record, request)], context);
    if (result?.status === 'patched') updated++;
  }
  return updated;
}

/** In the order of the sort. What another claim was faster with is passed over. */
export async function claimDerived(
  backend: RecordBackend,
  scope: TenantScope,
  request: ClaimRequest,
  context: OperationContext,
): Promise<Stored[]> {
  const { collection, filter, sort, limit } = request;
  const claimed: Stored[] = [];
  const passed = new Set<string>();
  while (claimed.length < limit) {
    // As many more as were passed over: they may match still.
    const wanted = limit - claimed.length + passed.size;
    try {
      const found = await backend.find(scope, { collection, filter, sort, limit: wanted }, context);
      const fresh = found.filter(({ id }) => !passed.has(id));
      for (const record of fresh) {
        if (claimed.length === limit) break;
        passed.add(record.id);
        const [result] = await backend.write(scope, [patchOf(record, request)], context);
        if (result?.status === 'patched') claimed.push(result.record);
      }
      if (found.length < wanted || fresh.length === 0) break;
    } catch (error) {
      // What is taken already must be told, or it would be nobody's.
      if (claimed.length === 0 || context.session !== undefined) throw error;
      return claimed;
    }
  }
  return claimed;
}

/** Asks the filter again: another writer may have changed the record since it was found. */
function patchOf(record: Stored, { collection, filter, changes, expiresAt }: UpdateRequest): Write {
  const patch = { collection, id: record.id, kind: 'patch', changes, if: filter } as const;
  return expiresAt === undefined ? patch : { ...patch, expiresAt };
}
