/** Turns on the connections of the client: as many as there may be, first come, first served. */
import { listenToAbort } from '../../abort.js';
import { aborted, type Clock, timerDelay } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import type { StorageError } from '../../errors.js';
import { TimeoutError, UnavailableError } from '../../errors.js';
import { boundsExceeded } from '../slot.js';

type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

interface Waiter {
  grant(): void;
  refuse(error: StorageError): void;
}

export interface GateOptions {
  readonly clock: Clock;
  /** The pool's name, for errors. */
  readonly component: string;
  readonly max: number;
  /** The longest wait for a turn, in milliseconds; `deadline` may end it earlier. */
  readonly acquireTimeout: number;
}

export class Gate {
  private readonly waiters = new Set<Waiter>();
  private turns = 0;
  private closed: StorageError | undefined;

  constructor(private readonly options: GateOptions) {}

  get taken(): number {
    return this.turns;
  }

  get waiting(): number {
    return this.waiters.size;
  }

  /**
   * Takes a turn: at once (`undefined`), or when the promise resolves.
   * @param begun whether it belongs to work that was there before `close`.
   * @throws the reason of `close`, `ABORTED`, `TIMEOUT` (the deadline), `UNAVAILABLE` (`acquireTimeout`).
   */
  acquire(bounds: Bounds, begun = false): Promise<void> | undefined {
    if (this.closed !== undefined && !begun) throw this.closed;
    const { clock, component, max } = this.options;
    const over = boundsExceeded(bounds, clock.monotonic(), component);
    if (over !== undefined) throw over;
    if (this.turns < max) {
      this.turns++;
      return undefined;
    }
    return this.wait(bounds);
  }

  release(): void {
    for (const waiter of this.waiters) return waiter.grant();
    this.turns--;
  }

  /** Refuses new work, and who waits. */
  close(reason: StorageError): void {
    this.closed ??= reason;
    for (const waiter of [...this.waiters]) waiter.refuse(reason);
  }

  private wait(bounds: Bounds): Promise<void> {
    const { clock, acquireTimeout } = this.options;
    const since = clock.monotonic();
    return new Promise((resolve, reject) => {
      const { signal } = bounds;
      const settle = (): void => {
        this.waiters.delete(waiter);
        timer.cancel();
        unlisten();
      };
      const waiter: Waiter = {
        grant: () => {
          settle();
          resolve();
        },
        refuse: (error) => {
          settle();
          reject(error);
        },
      };
      const onAbort = (): void => waiter.refuse(aborted(signal!));
      const remaining = bounds.deadline - since;
      const timer = clock.after(timerDelay(Math.min(remaining, acquireTimeout)), () =>
        waiter.refuse(remaining <= acquireTimeout ? this.lateError() : this.exhaustedError(since)),
      );
      const unlisten = listenToAbort(signal, onAbort);
      this.waiters.add(waiter);
    });
  }

  private lateError(): StorageError {
    return new TimeoutError('The deadline passed while the operation waited for a connection', {
      component: this.options.component,
    });
  }

  private exhaustedError(since: number): StorageError {
    const { clock, component, acquireTimeout, max } = this.options;
    const waited = Math.round(clock.monotonic() - since);
    return new UnavailableError(
      `All ${max} connections were busy for ${waited} ms (acquireTimeout: ${acquireTimeout})`,
      {
        component,
        details: { max, waiting: this.waiters.size, waited },
      },
    );
  }
}
