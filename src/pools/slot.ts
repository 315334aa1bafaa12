/**
 * The turn on the one connection of an embedded database: first come, first served. Who has the turn calls `release`
 * once. A free slot is taken without a timer or a promise.
 */
import { listenToAbort } from '../abort.js';
import { aborted, type Clock, timerDelay, type Timer } from '../clock.js';
import type { OperationContext } from '../component.js';
import { StorageError, TimeoutError, UnavailableError } from '../errors.js';
import { nextTurn } from './loop-turn.js';
import type { PoolFigures } from './pool.js';

type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

interface Waiter {
  grant(): void;
  refuse(error: StorageError): void;
}

export interface SlotOptions {
  readonly clock: Clock;
  /** The pool's name, for errors. */
  readonly component: string;
  /** The longest wait for the turn, in milliseconds; `context.deadline` may end it earlier. */
  readonly acquireTimeout: number;
  /** What a wait that the deadline ends says. */
  readonly late?: string;
}

const LATE = 'The deadline passed while the operation waited for the connection';

export class Slot {
  // A set keeps the order of arrival and forgets a waiter that gave up without a search.
  private readonly waiters = new Set<Waiter>();
  private takenAt: number | undefined;
  private closed: StorageError | undefined;
  private onFree: (() => void) | undefined;

  constructor(private readonly options: SlotOptions) {}

  /** When the turn was taken, by `Clock.monotonic`; `undefined` while the slot is free. */
  get busySince(): number | undefined {
    return this.takenAt;
  }

  figures(): PoolFigures {
    return { size: 1, idle: this.takenAt === undefined ? 1 : 0, waiting: this.waiters.size, max: 1 };
  }

  /** Takes the turn if nobody has it. */
  tryAcquire(): boolean {
    if (this.closed !== undefined || this.takenAt !== undefined) return false;
    this.takenAt = this.options.clock.monotonic();
    return true;
  }

  /**
   * Takes the turn: at once (`undefined`), or when the returned promise resolves.
   * @throws the reason of `close`, `ABORTED`, `TIMEOUT` (the deadline), `UNAVAILABLE` (`acquireTimeout`), at once or by the promise.
   */
  acquire(bounds: Bounds): Promise<void> | undefined {
    if (this.closed !== undefined) throw this.closed;
    const { clock, component } = this.options;
    const now = clock.monotonic();
    const over = boundsExceeded(bounds, now, component);
    if (over !== undefined) throw over;
    if (this.takenAt === undefined) {
      this.takenAt = now;
      return undefined;
    }
    return this.wait(bounds, now);
  }

  /** Gives the turn to the next waiter, or frees the slot. */
  release(): void {
    const next = this.waiters.size === 0 ? undefined : nextTurn();
    if (next === undefined) this.pass();
    else void next.then(() => this.pass());
  }

  private pass(): void {
    for (const waiter of this.waiters) {
      this.takenAt = this.options.clock.monotonic();
      waiter.grant();
      return;
    }
    this.takenAt = undefined;
    this.onFree?.();
  }

  /** Refuses new work and rejects who waits, with `reason`. Who has the turn keeps it. */
  close(reason = this.closedError()): void {
    this.closed ??= reason;
    for (const waiter of [...this.waiters]) waiter.refuse(reason);
  }

  /** Resolves when the slot is free (true), or at `deadline` (false). One caller at a time, after `close`. */
  free(deadline: number): Promise<boolean> {
    if (this.takenAt === undefined) return Promise.resolve(true);
    return new Promise((resolve) => {
      const { clock } = this.options;
      const finish = (isFree: boolean): void => {
        timer.cancel();
        this.onFree = undefined;
        resolve(isFree);
      };
      const timer = clock.after(timerDelay(deadline - clock.monotonic()), () => finish(false));
      this.onFree = () => finish(true);
    });
  }

  private wait(bounds: Bounds, now: number): Promise<void> {
    const { clock, acquireTimeout } = this.options;
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
      const remaining = bounds.deadline - now;
      const timer: Timer = clock.after(timerDelay(Math.min(remaining, acquireTimeout)), () =>
        waiter.refuse(remaining <= acquireTimeout ? this.lateError() : this.exhaustedError(now)),
      );
      const unlisten = listenToAbort(signal, onAbort);
      this.waiters.add(waiter);
    });
  }

  private lateError(): StorageError {
    const { component, late = LATE } = this.options;
    return new TimeoutError(late, { component });
  }

  private exhaustedError(since: number): StorageError {
    const { clock, component, acquireTimeout } = this.options;
    const waited = Math.round(clock.monotonic() - since);
    return new UnavailableError(`The only connection was busy for ${waited} ms (acquireTimeout: ${acquireTimeout})`, {
      component,
      details: { ...this.figures(), waited },
    });
  }

  private closedError(): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.options.component });
  }
}

/** What forbids an operation to start at `now` (of `Clock.monotonic`): its signal or its deadline. */
export function boundsExceeded(bounds: Bounds, now: number, component: string): StorageError | undefined {
  if (bounds.signal?.aborted === true) return aborted(bounds.signal);
  if (bounds.deadline <= now) return new TimeoutError('The deadline of the operation has passed', { component });
  return undefined;
}

/** Waits for a promise that never rejects, which goes on when the deadline or the signal comes first. */
export function untilBounds(promise: Promise<unknown>, bounds: Bounds, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const { deadline, signal } = bounds;
    if (signal?.aborted === true) return resolve();
    const settle = (): void => {
      timer.cancel();
      unlisten();
      resolve();
    };
    const timer = clock.after(timerDelay(deadline - clock.monotonic()), settle);
    const unlisten = listenToAbort(signal, settle);
    void promise.then(settle);
  });
}

/** Rejects with the signal's reason as soon as it aborts; the promise goes on. */
export function untilAborted<R>(promise: Promise<R>, signal: AbortSignal): Promise<R> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return onAbort();
    const unlisten = listenToAbort(signal, onAbort);
    promise.finally(unlisten).then(resolve, reject);
  });
}
