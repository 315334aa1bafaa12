import { StorageError } from './errors.js';

export interface Timer {
  cancel(): void;
}

/** Where all time comes from, so that tests and schedules can own it. */
export interface Clock {
  /** The wall clock: what is stored in records. May jump when the host's clock is set. */
  now(): Date;
  /** Milliseconds that never go back: deadlines, caches, latencies. */
  monotonic(): number;
  /**
   * Calls back once after `milliseconds`. Somebody waits for it, so it keeps the process alive, unless it is `background`:
   * a retry, a heartbeat.
   */
  after(milliseconds: number, callback: () => void, options?: { readonly background?: boolean }): Timer;
}

/** The longest delay that a Node timer takes; a longer one would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  after(milliseconds, callback, options) {
    let timer: NodeJS.Timeout;
    const wait = (rest: number): void => {
      // One longer than a timer takes would fire at once: it is waited for in parts.
      const next = rest > LONGEST_TIMER ? () => wait(rest - LONGEST_TIMER) : callback;
      timer = setTimeout(next, Math.min(rest, LONGEST_TIMER));
      if (options?.background === true) timer.unref();
    };
    wait(milliseconds);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** `base`, its wall clock moved by the milliseconds that `offset` gives: the clock of a database server. */
export function offsetClock(base: Clock, offset: () => number): Clock {
  return {
    now() {
      const now = base.now();
      const moved = offset();
      return moved === 0 ? now : new Date(now.getTime() + moved);
    },
    monotonic: () => base.monotonic(),
    after: (milliseconds, callback, options) => base.after(milliseconds, callback, options),
  };
}

/** Resolves after `milliseconds`; rejects with `ABORTED` as soon as `signal` aborts. */
export function sleep(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal));
    const onAbort = (): void => {
      timer.cancel();
      reject(aborted(signal!));
    };
    const timer = clock.after(milliseconds, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The error of an operation whose caller's signal aborted. */
export function aborted(signal: AbortSignal, operation?: string): StorageError {
  return new StorageError('ABORTED', 'The operation was aborted by its caller', { operation, cause: signal.reason });
}

/** A delay that a timer takes: not negative, not beyond its range. */
export function timerDelay(milliseconds: number): number {
  return Math.min(Math.max(milliseconds, 0), LONGEST_TIMER);
}
