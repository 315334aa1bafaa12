/** Who waits for a connection, first come, first served. */
import { aborted, type Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import type { StorageError } from '../../errors.js';
import { timerDelay } from '../slot.js';
import type { Connection } from './connection.js';

export type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

interface Waiter {
  /** Of `Clock.monotonic`. */
  readonly since: number;
  grant(connection: Connection): void;
  refuse(error: StorageError): void;
}

export class WaitQueue {
  // A set keeps the order of arrival and forgets a waiter that gave up without a search.
  private readonly waiters = new Set<Waiter>();

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.waiters.size;
  }

  /** @param timeoutAt of `Clock.monotonic`, beside the deadline; `late` makes the error of whichever comes first. */
  wait(bounds: Bounds, timeoutAt: number, late: (atDeadline: boolean) => StorageError): Promise<Connection> {
    const { clock } = this;
    return new Promise((resolve, reject) => {
      const { signal, deadline } = bounds;
      const settle = (): void => {
        this.waiters.delete(waiter);
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        since: clock.monotonic(),
        grant: (connection) => {
          settle();
          resolve(connection);
        },
        refuse: (error) => {
          settle();
          reject(error);
        },
      };
      const onAbort = (): void => waiter.refuse(aborted(signal!));
      const until = Math.min(deadline, timeoutAt);
      const timer = clock.after(timerDelay(until - clock.monotonic()), () =>
        waiter.refuse(late(deadline <= timeoutAt)),
      );
      signal?.addEventListener('abort', onAbort, { once: true });
      this.waiters.add(waiter);
    });
  }

  /** @returns whether somebody waited. */
  grant(take: () => Connection): boolean {
    for (const waiter of this.waiters) {
      waiter.grant(take());
      return true;
    }
    return false;
  }

  /** Refuses who waits longest, unless it came after `time`: what began before is not its answer. */
  refuseFirst(error: StorageError, time: number): void {
    const [first] = this.waiters;
    if (first !== undefined && first.since <= time) first.refuse(error);
  }

  refuseAll(error: StorageError): void {
    for (const waiter of [...this.waiters]) waiter.refuse(error);
  }
}
