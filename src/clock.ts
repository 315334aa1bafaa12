import { listenToAbort } from './abort.js';
import { StorageError, TimeoutError } from './errors.js';

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
   * Calls back once after `milliseconds`, up to `EARLY` of them early by `monotonic`. Somebody waits for it, so it keeps the
   * process alive, unless it is `background`: a retry, a heartbeat.
   */
  after(milliseconds: number, callback: () => void, options?: { readonly background?: boolean }): Timer;
}

/** Milliseconds by which a timer may be early. */
export const EARLY = 2;

/** The longest delay that a Node timer takes, in milliseconds; a longer one would fire at once. */
export const LONGEST_DELAY = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  after(milliseconds, callback, options) {
    let timer: NodeJS.Timeout;
    const wait = (rest: number): void => {
      // One longer than a timer takes would fire at once: it is waited for in parts.
      const next = rest > LONGEST_DELAY ? () => wait(rest - LONGEST_DELAY) : callback;
      timer = setTimeout(next, Math.min(rest, LONGEST_DELAY));
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
      unlisten();
      resolve();
    });
    const unlisten = listenToAbort(signal, onAbort);
  });
}

/**
 * What `work` gives, waited for within the bounds of one operation, which do not end the work itself.
 * @param late says what took too long
 * @param at what its own errors say of where they arose
 * @throws what `work` throws; `ABORTED`, `TIMEOUT`
 */
export function within<R>(
  work: Promise<R>,
  { signal, deadline }: { readonly signal?: AbortSignal | undefined; readonly deadline: number },
  clock: Clock,
  late: string,
  at: { readonly operation?: string; readonly component?: string } = {},
): Promise<R> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      timer?.cancel();
      unlisten();
    };
    const cut = (error: StorageError): void => {
      end();
      reject(error);
    };
    const onAbort = (): void => cut(aborted(signal!, at.operation));
    const onTime = (): void => cut(new TimeoutError(late, at));
    const timer = deadline === Infinity ? undefined : clock.after(timerDelay(deadline - clock.monotonic()), onTime);
    const unlisten = listenToAbort(signal, onAbort);
    if (signal?.aborted === true) onAbort();
    work.finally(end).then(resolve, reject);
  });
}

/** The error of an operation whose caller's signal aborted. */
export function aborted(signal: AbortSignal, operation?: string): StorageError {
  return new StorageError('ABORTED', 'The operation was aborted by its caller', { operation, cause: signal.reason });
}

/** A delay that a timer takes: not negative, not beyond its range. */
export function timerDelay(milliseconds: number): number {
  return Math.min(Math.max(milliseconds, 0), LONGEST_DELAY);
}
