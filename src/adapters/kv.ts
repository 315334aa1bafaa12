/** `storage.kv`: JSON values under a namespace and a key, with times to live, quotas, counters and locks. */
import type { CallOptions } from '../component.js';
import { ConflictError, StorageError, UnsupportedError } from '../errors.js';
import { expiry, readAddress, readOptions, ttlReader } from './kv/arguments.js';
import { KeyValueAtomic } from './kv/atomic.js';
import { idOf, type Address } from './kv/entry.js';
import { LOCKS, lockOf, type Lock, type LockValue } from './kv/locks.js';
import { integer } from './arguments.js';
import type { PatchConditions } from './unit-options.js';
import type { Patch } from '../collection/options.js';

const TOKEN = integer(1, Number.MAX_SAFE_INTEGER);

export interface LockOptions extends CallOptions {
  /** Seconds after which it is free again, if nobody has given it up or extended it. */
  readonly ttlSeconds: number;
}

export class KeyValueStore extends KeyValueAtomic {
  /**
   * Takes a lock that nobody holds; beside the entry of that key, which it does not touch. One statement.
   * @throws `CONFLICT` (retryable) while another holds it; `UNSUPPORTED` in a transaction: one that rolls back would give
   * its token again
   */
  async lock(namespace: string, key: string, options: LockOptions): Promise<Lock> {
    const at = readAddress(namespace, key);
    const { ttlSeconds } = readLockOptions(options);
    const now = this.host.clock.now();
    const until = expiry(ttlSeconds, now)!;
    const lock = await this.patchLock(
      'lock',
      at,
      options,
      { set: { until }, increment: { token: 1 } },
      {
        if: { until: { $lte: now } },
        orInsert: { ...at, token: 1, until },
      },
    );
    if (lock !== undefined) return lock;
    throw new ConflictError(
      'CONFLICT',
      `The lock ${JSON.stringify(at.key)} of ${JSON.stringify(at.namespace)} is held`,
      {
        component: 'kv',
        operation: 'kv.lock',
        retryable: true,
        details: { ...at, reason: 'locked' },
      },
    );
  }

  /** Gives a lock up. Whether it was held under this token still. */
  async unlock(namespace: string, key: string, token: number, options: CallOptions = {}): Promise<boolean> {
    const at = readAddress(namespace, key);
    TOKEN(token, 'token');
    readOptions(options, {});
    const now = this.host.clock.now();
    const held = { token, until: { $gt: now } };
    return (await this.patchLock('unlock', at, options, { set: { until: now } }, { if: held })) !== undefined;
  }

  /** Holds a lock for so many seconds from now. @throws `LEASE_LOST` when it is not held under this token any more */
  async extend(namespace: string, key: string, token: number, options: LockOptions): Promise<Lock> {
    const at = readAddress(namespace, key);
    TOKEN(token, 'token');
    const { ttlSeconds } = readLockOptions(options);
    const now = this.host.clock.now();
    const until = expiry(ttlSeconds, now)!;
    const held = { token, until: { $gt: now } };
    const lock = await this.patchLock('extend', at, options, { set: { until } }, { if: held });
    if (lock !== undefined) return lock;
    throw new StorageError('LEASE_LOST', `The lock ${JSON.stringify(at.key)} is not held under the token ${token}`, {
      component: 'kv',
      operation: 'kv.extend',
      details: { ...at, token },
    });
  }

  /** @throws `UNSUPPORTED` always: no database of these tells of changes to all processes. */
  async watch(): Promise<never> {
    throw new UnsupportedError('kv.watch: entries are not watched', { operation: 'kv.watch' });
  }

  /** @throws `UNSUPPORTED` always: sums of fractions depend on the order of the steps. */
  async incrementFloat(): Promise<never> {
    throw new UnsupportedError('kv.incrementFloat: only whole numbers are counted', { operation: 'kv.incrementFloat' });
  }

  /** @returns `undefined` when the condition does not hold. */
  private patchLock(
    operation: string,
    at: Address,
    options: CallOptions,
    changes: Patch<LockValue>,
    conditions: PatchConditions<LockValue>,
  ): Promise<Lock | undefined> {
    return this.run(operation, options, async (context) => {
      if (context.session !== undefined)
        throw new UnsupportedError(`kv.${operation}: locks are taken and given up outside of transactions`, {
          operation: `kv.${operation}`,
        });
      const unit = this.unitAt(context);
      const patched = unit.patch(LOCKS, idOf(at), changes, conditions);
      return (await unit.commit(`kv.${operation}`)) === undefined ? lockOf(patched.record().value) : undefined;
    });
  }
}

function readLockOptions(options: LockOptions): LockOptions {
  const ttl = (value: unknown, key: string): unknown => ttlReader(value ?? undefined, key);
  const read = readOptions(options, { ttlSeconds: ttl });
  ttl(read.ttlSeconds, 'options.ttlSeconds');
  return read;
}
