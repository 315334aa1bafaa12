/**
 * The record of a lock, and the steps on it: one conditional patch each, so that any database serves whose single records
 * are atomic. It is never deleted: it counts the tokens, so that none is given twice.
 */
import type { PatchChanges, RecordSchema, TenantScope, Write, WriteResult } from '../../backends/backend.js';
import { all, compares, equals } from '../../collection/conditions.js';
import type { CollectionHost } from '../../collection/host.js';
import type { OperationContext } from '../../component.js';
import { StorageError } from '../../errors.js';

/** `claim`: of the acquisition that holds it, empty when it is free. `until`: held before this instant. */
export const LOCKS: RecordSchema = {
  name: 'qm_locks',
  fields: new Map([
    ['claim', { type: 'string', maxBytes: 36 }],
    ['until', { type: 'date', maxBytes: 0 }],
  ]),
  indexes: [],
  unique: [],
  text: [],
};

/** Whose lock it is, and for which acquisition. */
export interface Claim {
  readonly name: string;
  readonly claim: string;
}

export interface Taken {
  readonly token: number;
  readonly until: Date;
}

/** `undefined` while another has it. */
export async function takeLock(
  host: CollectionHost,
  { name, claim }: Claim,
  { ttl, holder }: { readonly ttl: number; readonly holder: string },
  context: OperationContext,
): Promise<Taken | undefined> {
  const until = after(context, ttl);
  const set = { claim, holder, until: until.toISOString() };
  const result = await write(
    host,
    {
      collection: LOCKS,
      id: name,
      kind: 'patch',
      changes: { set, increment: { token: 1 } },
      if: all(compares('until', 'lte', context.now)),
      orInsert: { ...set, token: 1 },
    },
    context,
  );
  if (result.status === 'unmatched') return undefined;
  const token = result.status === 'patched' ? result.record.value['token'] : undefined;
  if (!Number.isSafeInteger(token))
    throw new StorageError('INTERNAL', `The record of the lock ${JSON.stringify(name)} is damaged`, {
      component: host.backend.name,
      operation: 'lock',
    });
  return { token: token as number, until };
}

/** Its new end; `undefined` when it is held for this claim no more. */
export async function extendLock(
  host: CollectionHost,
  claim: Claim,
  ttl: number,
  context: OperationContext,
): Promise<Date | undefined> {
  const until = after(context, ttl);
  return (await change(host, claim, { set: { until: until.toISOString() } }, context)) ? until : undefined;
}

/** Whether it was held for this claim. No claim is left, so that an extension which is on its way does not take it back. */
export function freeLock(host: CollectionHost, claim: Claim, context: OperationContext): Promise<boolean> {
  return change(host, claim, { set: { claim: '', until: new Date(0).toISOString() } }, context);
}

async function change(
  host: CollectionHost,
  { name, claim }: Claim,
  changes: PatchChanges,
  context: OperationContext,
): Promise<boolean> {
  const patch: Write = { collection: LOCKS, id: name, kind: 'patch', changes, if: equals('claim', claim) };
  return (await write(host, patch, context)).status === 'patched';
}

async function write(
  { backend, tenant }: CollectionHost,
  item: Write,
  context: OperationContext,
): Promise<WriteResult> {
  const scope: TenantScope = { tenant };
  const [result] = await backend.write(scope, [item], context);
  return result!;
}

function after({ now }: OperationContext, ttl: number): Date {
  return new Date(now.getTime() + ttl);
}
