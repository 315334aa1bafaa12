/** How much the entries of a namespace, of a tenant and of all tenants take: one counter each, where there is a quota. */
import { hash } from 'node:crypto';
import type { RecordSchema } from '../../backends/backend.js';
import { defineOwnCollection, type CollectionDefinition } from '../../collection/definition.js';
import { LIBRARY } from '../../collection/library.js';
import { StorageError } from '../../errors.js';
import { deleteEmptied } from './emptied.js';

export interface UsageValue {
  /** Those that have expired, and are not deleted yet, are counted: deleting them gives their bytes back. */
  readonly bytes: number;
}

export const TENANT_COUNTER = 'tenant';
/** Under the library's own tenant. */
export const GLOBAL = { scope: LIBRARY, id: 'kv' } as const;

const DECLARED: CollectionDefinition<UsageValue> = defineOwnCollection<UsageValue>({
  name: 'qm_kv_usage',
  id: 'given',
  fields: { bytes: 'number' },
});

const SCHEMA: RecordSchema = {
  ...DECLARED.schema,
  // There is one counter of all tenants: it takes no room.
  sweep: (backend, before, limit, context) => deleteEmptied(DECLARED, GLOBAL.id, backend, before, limit, context),
};

export const USAGE: CollectionDefinition<UsageValue> = { ...DECLARED, schema: SCHEMA };

export function namespaceCounter(namespace: string): string {
  return `namespace:${hash('sha256', namespace)}`;
}

export type QuotaScope = 'namespace' | 'tenant' | 'global';

/** Bytes; 0: any number. */
export type Quotas = Readonly<Record<QuotaScope, number>>;

/** A write would take more than there may be: nothing is written. `needed` is what it would add to `used`. */
export interface Excess {
  readonly scope: QuotaScope;
  readonly limit: number;
  readonly used: number;
  readonly needed: number;
}

export function quotaExceeded(operation: string, excess: Excess): StorageError {
  const { scope, limit, used, needed } = excess;
  const message = `${operation}: ${needed} bytes more would exceed the ${scope} quota of ${limit} bytes (${used} are used; the setting is kv.${scope}QuotaBytes)`;
  return new StorageError('QUOTA_EXCEEDED', message, { component: 'kv', operation, details: { ...excess } });
}
