/**
 * Locks with a time to live. A lock's record is never deleted: it counts the tokens too, so that none is given twice,
 * whatever becomes of the entry beside it.
 */
import { defineOwnCollection } from '../../collection/definition.js';
import type { Address } from './entry.js';

export interface LockValue extends Address {
  /** Of the one who holds it, or who held it last. */
  readonly token: number;
  /** Held before this instant. */
  readonly until: Date;
}

export interface Lock extends Address {
  /** Greater than that of every holder before: what the lock guards refuses numbers below the highest it has seen. */
  readonly token: number;
  readonly expiresAt: Date;
}

export const LOCKS = defineOwnCollection<LockValue>({
  name: 'qm_kv_locks',
  id: 'given',
  fields: { token: 'number', until: 'date' },
});

export function lockOf({ namespace, key, token, until }: LockValue): Lock {
  return { namespace, key, token, expiresAt: until };
}
