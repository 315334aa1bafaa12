/** Every record that matches, in the order of the ids, a page in memory at a time. */
import { setImmediate } from 'node:timers/promises';
import type { FindRequest, RecordBackend, Stored, TenantScope } from '../backends/backend.js';
import type { OperationContext } from '../component.js';
import { cursorRanges, type SortKey } from '../filter/cursor.js';

const BY_ID: readonly SortKey[] = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }];
const PAGE = 500;

export async function* eachRecord(
  backend: RecordBackend,
  scope: TenantScope,
  request: Pick<FindRequest, 'collection' | 'filter'>,
  context: OperationContext,
): AsyncGenerator<Stored, void, undefined> {
  let last: string | undefined;
  for (;;) {
    const ranges = last === undefined ? {} : { ranges: cursorRanges(BY_ID, [last]) };
    const page = await backend.find(scope, { ...request, sort: BY_ID, limit: PAGE, ...ranges }, context);
    yield* page;
    if (page.length < PAGE) return;
    // A database in this process waits for nobody, and would let nobody in by itself.
    await setImmediate();
    last = page.at(-1)!.id;
  }
}
