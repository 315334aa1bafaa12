/** `storage.locks()`: one holder at a time over all processes, by a lease on a record, and the token that fences it. */
import { randomUUID } from 'node:crypto';
import { listenToAbort } from '../abort.js';
import { checkId } from '../backends/value.js';
import { aborted } from '../clock.js';
import { runOperation, type CollectionHost } from '../collection/host.js';
import type { CallOptions } from '../component.js';
import { ConflictError, invalid, isStorageError, StorageError } from '../errors.js';
import { Handle } from '../handle.js';
import { isPlainObject } from '../filter/json.js';
import { HeldLock, type Lock } from './locks/lock.js';
import { checkLockOptions, type LockOptions, type LockSettings } from './locks/options.js';
import { joinQueue, wakeFirst } from './locks/queue.js';
import { freeLock, LOCKS, takeLock } from './locks/record.js';
import { backoffDelay } from './relay/options.js';

export interface LockInfo {
  readonly name: string;
  readonly token: number;
  /** As it was given with `acquire`; default: the machine's name and the process's id. */
  readonly holder: string;
  /** By the database's clock. */
  readonly expiresAt: Date;
}

export interface LockHost extends CollectionHost {
  /** Calls back when the manager is about to close, until the returned function is called. */
  onClosing(listener: () => void): () => void;
}

/** Between looks at a lock that another process has. */
const LOOKS = { base: 50, max: 1_000 };
/** After these it may have been taken all the same. */
const UNKNOWN: readonly unknown[] = ['OUTCOME_UNKNOWN', 'TIMEOUT', 'ABORTED'] satisfies StorageError['code'][];

export class Locks extends Handle {
  constructor(private readonly host: LockHost) {
    super();
  }

  toJSON(): Record<string, unknown> {
    return { tenant: this.host.tenant };
  }

  /**
   * Takes a lock of the tenant, in one atomic step, and renews it until it is given back. While another has it, it is
   * waited for up to `wait`; who waits longest in a process goes first there, between processes nobody has a claim.
   * @param name any text that can be an id, up to 255 bytes
   * @throws `CONFLICT` (retryable, `details.reason`: `locked`) while another has it, this process included: no lock is
   * taken twice; `VALIDATION` before any I/O; `ABORTED`; `CLOSED` also when the manager closes while it waits
   */
  async acquire(name: string, options: LockOptions = {}): Promise<Lock> {
    return this.obtain(checkId(name, 'name'), checkLockOptions(options), false);
  }

  /**
   * Runs `work` under a lock, which is given back whatever happens. While the manager closes it is kept until `work` has
   * ended.
   * @throws as `acquire`; what `work` throws; `LEASE_LOST` in place of a result, or of an `ABORTED`, when the lock was lost
   * meanwhile: another may have run at the same time
   */
  async withLock<R>(name: string, options: LockOptions, work: (lock: Lock) => Promise<R>): Promise<R> {
    checkId(name, 'name');
    const settings = checkLockOptions(options);
    if (typeof work !== 'function') throw invalid('work', work, 'a function');
    const lock = await this.obtain(name, settings, true);
    let result: R;
    try {
      result = await work(lock);
    } catch (error) {
      await lock[Symbol.asyncDispose]();
      throw lock.signal.aborted && isStorageError(error, 'ABORTED') ? lock.signal.reason : error;
    }
    // Where it cannot be told, the lease has lasted by the clock.
    if (await lock.release().catch(() => true)) return result;
    throw lock.failure();
  }

  /** Who holds a lock; `undefined` while it is free. */
  async inspect(name: string, options: CallOptions = {}): Promise<LockInfo | undefined> {
    const { host } = this;
    const key = { collection: LOCKS, id: checkId(name, 'name') };
    if (!isPlainObject(options)) throw invalid('options', options, 'an object of signal, timeout');
    return runOperation(host, [LOCKS], 'lock', options, async (context) => {
      const [record] = await host.backend.read({ tenant: host.tenant }, [key], context);
      if (record === undefined) return undefined;
      const { token, holder, until } = record.value as { token: number; holder: string; until: string };
      const expiresAt = new Date(until);
      return expiresAt > context.now ? { name, token, holder, expiresAt } : undefined;
    });
  }

  private async obtain(name: string, settings: LockSettings, isScoped: boolean): Promise<HeldLock> {
    const lock =
      settings.wait > 0 ? await this.waitFor(name, settings, isScoped) : await this.take(name, settings, isScoped);
    if (lock !== undefined) return lock;
    throw new ConflictError('CONFLICT', `The lock ${JSON.stringify(name)} is held`, {
      component: this.host.backend.name,
      operation: 'lock',
      retryable: true,
      details: { name, reason: 'locked' },
    });
  }

  private async waitFor(name: string, settings: LockSettings, isScoped: boolean): Promise<HeldLock | undefined> {
    const { host } = this;
    const { signal } = settings.call;
    // Whoever is not the first to wait does not ask the database, and is told of what is refused all the same.
    host.begin('lock', settings.call).end();
    const patience = host.clock.monotonic() + settings.wait;
    const waiter = joinQueue(host.backend, host.clock, host.tenant, name);
    let isClosing = false;
    const offClosing = host.onClosing(() => {
      isClosing = true;
      waiter.wake();
    });
    const onAbort = (): void => waiter.wake();
    const unlisten = listenToAbort(signal, onAbort);
    try {
      for (let looks = 0; ;) {
        if (waiter.isFirst) {
          const lock = await this.take(name, settings, isScoped);
          if (lock !== undefined) return lock;
          looks++;
        }
        const remaining = patience - host.clock.monotonic();
        if (remaining <= 0) return undefined;
        await waiter.pause(looks === 0 ? remaining : Math.min(remaining, backoffDelay(LOOKS, looks)));
        if (isClosing) throw closed();
        if (signal?.aborted === true) throw aborted(signal, 'lock');
      }
    } finally {
      waiter.leave();
      offClosing();
      unlisten();
    }
  }

  private async take(name: string, settings: LockSettings, isScoped: boolean): Promise<HeldLock | undefined> {
    const { host } = this;
    const { ttl, renew } = settings;
    const claim = { name, claim: randomUUID() };
    // It is in flight for as long as the lock is held, so that a close waits until it is given back.
    const operation = host.begin('lock', settings.call);
    let lock: HeldLock | undefined;
    let isClosing = false;
    const offClosing = host.onClosing(() => {
      isClosing = true;
      lock?.close(closed());
    });
    const onEnd = (): void => {
      offClosing();
      operation.end();
    };
    try {
      await host.ensure([LOCKS], operation.context);
      const end = host.clock.monotonic() + ttl;
      // A lease that is over before it is given is none.
      const deadline = Math.min(operation.context.deadline, end);
      const taken = await takeLock(host, claim, settings, { ...operation.context, now: host.clock.now(), deadline });
      if (taken === undefined) return void onEnd();
      const onFree = (): void => {
        onEnd();
        wakeFirst(host.backend, host.tenant, name);
      };
      lock = new HeldLock(host, claim, taken, { ttl, renew, isScoped, end, onEnd: onFree });
    } catch (error) {
      onEnd();
      if (isStorageError(error) && UNKNOWN.includes(error.code)) {
        const context = { now: host.clock.now(), deadline: host.clock.monotonic() + ttl };
        void freeLock(host, claim, context).catch(() => undefined);
      }
      throw error;
    }
    if (!isClosing) return lock;
    await lock[Symbol.asyncDispose]();
    throw closed();
  }
}

function closed(): StorageError {
  return new StorageError('CLOSED', 'The storage manager is closing', { operation: 'lock' });
}
