/** Who waits for a connection, first come, first served. */
import { listenToAbort } from '../../abort.js';
import { aborted, type Clock, timerDelay } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { type StorageError, TimeoutError, UnavailableError } from '../../errors.js';
import type { PoolFigures } from '../pool.js';
import type { Connection } from './connection.js';

export type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

interface Waiter {
  /** Of `Clock.monotonic`. */
  readonly since: number;
  readonly shares: boolean;
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

  /**
   * @param shares whether it may have the connection together with others.
   * @param timeoutAt of `Clock.monotonic`, beside the deadline; `late` makes the error of whichever comes first.
   */
  wait(
    bounds: Bounds,
    shares: boolean,
    timeoutAt: number,
    late: (atDeadline: boolean) => StorageError,
  ): Promise<Connection> {
    const { clock } = this;
    return new Promise((resolve, reject) => {
      const { signal, deadline } = bounds;
      const settle = (): void => {
        this.waiters.delete(waiter);
        timer.cancel();
        unlisten();
      };
      const waiter: Waiter = {
        since: clock.monotonic(),
        shares,
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
      const unlisten = listenToAbort(signal, onAbort);
      this.waiters.add(waiter);
    });
  }

  /**
   * Gives a connection to who waits longest; when that one shares, also to those right behind it that do, `most` in all.
   * @returns how many have it.
   */
  grant(connection: Connection, most: number): number {
    let granted = 0;
    for (const waiter of this.waiters) {
      if (granted > 0 && (!waiter.shares || granted >= most)) break;
      waiter.grant(connection);
      granted++;
      if (!waiter.shares) break;
    }
    return granted;
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

export function lateError(figures: PoolFigures, component: string): StorageError {
  return new TimeoutError('The deadline passed while the operation waited for a connection', {
    component,
    details: { ...figures },
  });
}

export function exhaustedError(
  figures: PoolFigures,
  milliseconds: number,
  acquireTimeout: number,
  component: string,
): StorageError {
  const { size, max } = figures;
  const waited = Math.round(milliseconds);
  // More may be open: it is the server that has let none be opened.
  const fault = size < max ? 'The server answered no new connection' : 'No connection became free';
  return new UnavailableError(
    `${fault} within ${waited} ms (${size} of ${max} open, acquireTimeout: ${acquireTimeout})`,
    { component, details: { ...figures, waited } },
  );
}
