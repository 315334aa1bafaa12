/** Counters that are never deleted, so that no number they gave is given again: the ids of `sequence` collections. */
import type { OperationContext } from '../component.js';
import { StorageError } from '../errors.js';
import type { RecordBackend, RecordSchema, TenantScope } from '../backends/backend.js';

const NEXT = { source: 'value', path: ['last'], type: 'number' } as const;

/** One record a counter, under the tenant whose counter it is. */
export const COUNTERS: RecordSchema = {
  name: 'qm_counters',
  fields: new Map([['last', { type: 'number', maxBytes: 0 }]]),
  indexes: [],
  unique: [],
  text: [],
};

/** Takes `count` numbers; gives the first of them. @throws `STORAGE_FULL` when there are not as many left. */
export async function takeNumbers(
  backend: RecordBackend,
  scope: TenantScope,
  counter: string,
  count: number,
  context: OperationContext,
): Promise<number> {
  const [result] = await backend.write(
    scope,
    [
      {
        collection: COUNTERS,
        id: counter,
        kind: 'patch',
        changes: { increment: { last: count } },
        orInsert: { last: count },
      },
    ],
    context,
  );
  const last = result?.status === 'patched' ? result.record.value['last'] : undefined;
  if (typeof last !== 'number')
    throw new StorageError('INTERNAL', `The counter ${counter} is damaged`, { component: backend.name });
  // Beyond 2^53 - 1 two numbers would be one. Nothing takes a counter back from there: every later call is refused as well.
  if (!Number.isSafeInteger(last))
    throw new StorageError('STORAGE_FULL', `The sequence ${counter} has no ${count} numbers left below 2^53`, {
      component: backend.name,
      details: { reason: 'sequence', sequence: counter, count },
    });
  return last - count + 1;
}

/** Makes sure that `number` will not be given: an id that the caller brought. */
export async function skipNumber(
  backend: RecordBackend,
  scope: TenantScope,
  counter: string,
  number: number,
  context: OperationContext,
): Promise<void> {
  // Mostly it is behind the counter already: a record that is saved again. All who save would write the one record.
  const [known] = await backend.read(scope, [{ collection: COUNTERS, id: counter }], context);
  const last = known?.value['last'];
  if (typeof last === 'number' && last >= number) return;
  await backend.write(
    scope,
    [
      {
        collection: COUNTERS,
        id: counter,
        kind: 'patch',
        changes: { set: { last: number } },
        if: { op: 'lt', field: NEXT, value: number },
        orInsert: { last: number },
      },
    ],
    context,
  );
}
