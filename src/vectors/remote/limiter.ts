/** How many requests a service gets at once: the others wait for a turn, first come, first served. */
import { listenToAbort } from '../../abort.js';
import { aborted, type Clock, timerDelay } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { StorageError, TimeoutError } from '../../errors.js';

export type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

interface Waiter {
  grant(): void;
  refuse(error: StorageError): void;
}

export interface LimiterOptions {
  readonly clock: Clock;
  /** The provider's name, for errors. */
  readonly component: string;
  readonly max: number;
}

export class Limiter {
  private readonly waiters = new Set<Waiter>();
  private readonly cuts = new Set<(error: StorageError) => void>();
  private taken = 0;
  private closed = false;
  private onIdle: (() => void) | undefined;
  private draining: Promise<void> | undefined;

  constructor(private readonly options: LimiterOptions) {}

  /** Requests in flight, waiting for a turn, and the most that may be in flight. */
  figures(): { readonly active: number; readonly waiting: number; readonly max: number } {
    return { active: this.taken, waiting: this.waiters.size, max: this.options.max };
  }

  /** Calls back when the time that `close` gave is over. @returns what forgets it. */
  onCut(callback: (error: StorageError) => void): () => void {
    this.cuts.add(callback);
    return () => void this.cuts.delete(callback);
  }

  /** Runs `work` in a turn of its own. @throws `CLOSED`, `ABORTED`, `TIMEOUT` before it begins. */
  async run<R>(bounds: Bounds, work: () => Promise<R>): Promise<R> {
    await this.acquire(bounds);
    try {
      return await work();
    } finally {
      this.release();
    }
  }

  /** Refuses new work and who waits, and lets what runs go on until `deadline` (of `Clock.monotonic`). Idempotent. */
  async close(deadline: number): Promise<void> {
    this.closed = true;
    for (const waiter of [...this.waiters]) waiter.refuse(this.closedError());
    if (this.taken > 0) await (this.draining ??= this.idle(deadline).finally(() => (this.draining = undefined)));
    for (const cut of [...this.cuts]) cut(this.closedError());
  }

  private closedError(): StorageError {
    const { component } = this.options;
    return new StorageError('CLOSED', 'The provider is closed', { component });
  }

  private acquire(bounds: Bounds): Promise<void> | undefined {
    if (this.closed) throw this.closedError();
    const { clock, max } = this.options;
    if (bounds.signal?.aborted === true) throw aborted(bounds.signal);
    if (bounds.deadline <= clock.monotonic()) throw this.lateError();
    if (this.taken >= max) return this.wait(bounds);
    this.taken++;
    return undefined;
  }

  private release(): void {
    for (const waiter of this.waiters) return waiter.grant();
    this.taken--;
    if (this.taken === 0) this.onIdle?.();
  }

  private wait({ signal, deadline }: Bounds): Promise<void> {
    return new Promise((resolve, reject) => {
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
      const { clock } = this.options;
      const timer = clock.after(timerDelay(deadline - clock.monotonic()), () => waiter.refuse(this.lateError()));
      const unlisten = listenToAbort(signal, onAbort);
      this.waiters.add(waiter);
    });
  }

  private idle(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const { clock } = this.options;
      const timer = clock.after(timerDelay(deadline - clock.monotonic()), resolve);
      this.onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  private lateError(): StorageError {
    const { component, max } = this.options;
    return new TimeoutError('The deadline passed before the request could be sent', { component, details: { max } });
  }
}
