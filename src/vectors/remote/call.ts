/**
 * Calls to a service over the network, as every provider that is one makes them: each attempt in a turn of the limiter and
 * within its own time, tried again with backoff where the provider says so, never beyond the operation's deadline or its
 * caller's signal. What a failure means is the provider's to say.
 */
import { listenToAbort } from '../../abort.js';
import { aborted, sleep, type Clock, timerDelay } from '../../clock.js';
import { type StorageError, TimeoutError } from '../../errors.js';
import { type Bounds, type Limiter } from './limiter.js';
import { retryDelay, type RetryOptions } from './retry.js';

/** What an attempt failed with, in the library's terms. */
export interface RemoteFailure {
  /** What the caller gets when the call is not made again. */
  readonly error: StorageError;
  /** Whether the same call may be made again: the failure passes, and made twice the call does what it does once. */
  readonly retry: boolean;
  /** Milliseconds that the service asked to wait. */
  readonly retryAfter?: number | undefined;
}

export interface RemotePolicy {
  readonly clock: Clock;
  /** The provider's name, for errors. */
  readonly component: string;
  readonly limiter: Limiter;
  /** Milliseconds that one attempt may take. */
  readonly attemptTimeout: number;
  readonly retry: RetryOptions;
  /** What an attempt's own failure means; the ends that `callRemote` sets to it never come here. */
  classify(error: unknown): RemoteFailure;
  /** Default: `Math.random`. */
  readonly random?: () => number;
}

export interface RemoteAttempt {
  /** From 1. After the first one, an earlier attempt may have reached the service. */
  readonly number: number;
  /** Aborts when nobody waits for this attempt any more. Each attempt has its own. */
  readonly signal: AbortSignal;
}

/**
 * Makes a call. It settles no later than the deadline and the caller's signal, whatever the attempt does.
 * @throws what `classify` gives for the last attempt; `TIMEOUT` when an attempt or the operation ran out of time;
 * `ABORTED`; `CLOSED`.
 */
export async function callRemote<R>(
  context: Bounds,
  policy: RemotePolicy,
  attempt: (attempt: RemoteAttempt) => Promise<R>,
): Promise<R> {
  const { clock, limiter, retry, random = Math.random } = policy;
  for (let number = 1; ; number++) {
    const outcome = await limiter.run(context, () => attemptOnce(context, policy, number, attempt));
    if ('value' in outcome) return outcome.value;
    if (!outcome.retry || number >= retry.attempts) throw outcome.error;
    const wait = retryDelay(retry, number, outcome.retryAfter, random);
    // There would be no time left to ask again: the failure says more than a deadline does.
    if (clock.monotonic() + wait >= context.deadline) throw outcome.error;
    const ended = await within(context, policy, Infinity, (signal) => sleep(clock, wait, signal));
    if ('cut' in ended) throw ended.cut;
  }
}

async function attemptOnce<R>(
  context: Bounds,
  policy: RemotePolicy,
  number: number,
  attempt: (attempt: RemoteAttempt) => Promise<R>,
): Promise<{ readonly value: R } | RemoteFailure> {
  const { attemptTimeout } = policy;
  const ended = await within(context, policy, attemptTimeout, (signal) => attempt({ number, signal }));
  if ('value' in ended) return ended;
  if ('failure' in ended) return policy.classify(ended.failure);
  if (ended.isLate) return { error: ended.cut, retry: true };
  throw ended.cut;
}

/** How work ended: by itself, or cut by the signal, the deadline, the close, or the time of one attempt. */
type Ended<R> =
  { readonly value: R } | { readonly failure: unknown } | { readonly cut: StorageError; readonly isLate: boolean };

/** @param attemptTimeout `Infinity` for what is no attempt. */
function within<R>(
  { signal, deadline }: Bounds,
  { clock, component, limiter }: RemotePolicy,
  attemptTimeout: number,
  work: (signal: AbortSignal) => Promise<R>,
): Promise<Ended<R>> {
  return new Promise((resolve) => {
    const controller = new AbortController();
    const settle = (ended: Ended<R>): void => {
      timer.cancel();
      unlisten();
      forget();
      resolve(ended);
    };
    const cut = (error: StorageError, isLate = false): void => {
      settle({ cut: error, isLate });
      controller.abort(error);
    };
    const onAbort = (): void => cut(aborted(signal!));
    const forget = limiter.onCut((error) => cut(error));
    const remaining = deadline - clock.monotonic();
    const isShorter = attemptTimeout < remaining;
    const over = isShorter
      ? `The service did not answer within ${attemptTimeout} ms`
      : 'The deadline of the operation has passed';
    const timer = clock.after(timerDelay(isShorter ? attemptTimeout : remaining), () =>
      cut(new TimeoutError(over, { component }), isShorter),
    );
    const unlisten = listenToAbort(signal, onAbort);
    if (signal?.aborted === true) return onAbort();
    // What it throws at once is a failure of the attempt too.
    (async () => work(controller.signal))().then(
      (value) => settle({ value }),
      (failure: unknown) => settle({ failure }),
    );
  });
}
