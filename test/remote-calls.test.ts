/** Calls to services: attempts, backoff, turns and ends, on a clock that only the test moves. */
import { describe, expect, test } from '@jest/globals';
import { type StorageError, UnavailableError } from '../src/errors.js';
import { callRemote, type RemoteAttempt, type RemoteFailure, type RemotePolicy } from '../src/vectors/remote/call.js';
import { Limiter } from '../src/vectors/remote/limiter.js';
import { parseRetryAfter, retryDelay } from '../src/vectors/remote/retry.js';
import { ManualClock, settled } from './support/manual-clock.js';

const RETRY = { attempts: 3, baseDelay: 100, maxDelay: 1_000 };

interface Options {
  readonly max?: number;
  readonly failure?: Partial<RemoteFailure>;
}

function setup({ max = 2, failure }: Options = {}) {
  const clock = new ManualClock();
  const limiter = new Limiter({ clock, component: 'vectors:x', max });
  const policy: RemotePolicy = {
    clock,
    component: 'vectors:x',
    limiter,
    attemptTimeout: 1_000,
    retry: RETRY,
    random: () => 0.5,
    classify: (cause) => ({ error: new UnavailableError('down', { cause }), retry: true, ...failure }),
  };
  return { clock, limiter, policy, context: { deadline: 60_000 } };
}

/** Watches a promise: what it settled with, or `undefined` as long as it has not. */
function watch<R>(promise: Promise<R>): { outcome: { value?: R; code?: string; error?: unknown } | undefined } {
  const watched: ReturnType<typeof watch<R>> = { outcome: undefined };
  promise.then(
    (value) => (watched.outcome = { value }),
    (error: unknown) => (watched.outcome = { code: (error as StorageError).code, error }),
  );
  return watched;
}

const never = (): Promise<never> => new Promise(() => undefined);

describe('a call', () => {
  test('that fails is made again after a delay, and gives what the later attempt gives', async () => {
    const { clock, policy, context } = setup();
    const attempts: number[] = [];
    const call = watch(
      callRemote(context, policy, async ({ number }) => {
        attempts.push(number);
        if (number < 3) throw new Error('no');
        return 'yes';
      }),
    );
    await clock.advance(49);
    expect(attempts).toEqual([1]);
    await clock.advance(1);
    expect(attempts).toEqual([1, 2]);
    await clock.advance(100);
    expect(call.outcome).toEqual({ value: 'yes' });
    expect(clock.timers).toBe(0);
  });

  test('is made no more often than the settings say', async () => {
    const { clock, policy, context } = setup();
    let attempts = 0;
    const call = watch(callRemote(context, policy, () => Promise.reject(new Error(String(++attempts)))));
    await clock.advance(10_000);
    expect(attempts).toBe(3);
    expect(call.outcome).toMatchObject({ code: 'UNAVAILABLE', error: { cause: { message: '3' } } });
  });

  test('is not made again where the provider says no', async () => {
    const { clock, policy, context } = setup({ failure: { retry: false } });
    let attempts = 0;
    const call = watch(callRemote(context, policy, () => Promise.reject(new Error(String(++attempts)))));
    await clock.advance(10_000);
    expect(attempts).toBe(1);
    expect(call.outcome).toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('waits as long as the service asks for, and not beyond its own deadline', async () => {
    const { clock, policy } = setup({ failure: { retryAfter: 5_000 } });
    let attempts = 0;
    const fails = (): Promise<never> => Promise.reject(new Error(String(++attempts)));
    const call = watch(callRemote({ deadline: 7_000 }, policy, fails));
    await clock.advance(5_000);
    expect(attempts).toBe(1);
    await clock.advance(50);
    expect(attempts).toBe(2);
    expect(call.outcome).toMatchObject({ code: 'UNAVAILABLE' });
    expect(clock.timers).toBe(0);
  });

  test('whose attempt hangs is made again, each attempt with a signal of its own', async () => {
    const { clock, policy, context } = setup();
    const seen: RemoteAttempt[] = [];
    const call = watch(
      callRemote(context, policy, (attempt) => {
        seen.push(attempt);
        return attempt.number === 1 ? never() : Promise.resolve('yes');
      }),
    );
    await clock.advance(1_050);
    expect(call.outcome).toEqual({ value: 'yes' });
    expect(seen.map(({ number, signal }) => [number, signal.aborted])).toEqual([
      [1, true],
      [2, false],
    ]);
  });

  test('that always hangs is a TIMEOUT after its attempts, and at the deadline when that is first', async () => {
    const { clock, policy, context } = setup();
    const all = watch(callRemote(context, policy, never));
    const short = watch(callRemote({ deadline: 500 }, policy, never));
    await clock.advance(500);
    expect(short.outcome).toMatchObject({ code: 'TIMEOUT' });
    await clock.advance(60_000);
    expect(all.outcome).toMatchObject({ code: 'TIMEOUT', error: { message: expect.stringContaining('1000 ms') } });
  });

  test.each([
    ['in an attempt', 10],
    ['between two', 1_020],
  ])('ends with its caller, %s', async (_case, at) => {
    const { clock, policy, context } = setup();
    const controller = new AbortController();
    const call = watch(callRemote({ ...context, signal: controller.signal }, policy, never));
    await clock.advance(at);
    controller.abort();
    await settled();
    expect(call.outcome).toMatchObject({ code: 'ABORTED' });
    expect(clock.timers).toBe(0);
  });

  test('is not begun for a caller that is gone or late', async () => {
    const { policy, context } = setup();
    const unused = (): Promise<never> => Promise.reject(new Error('was called'));
    const call = callRemote({ ...context, signal: AbortSignal.abort() }, policy, unused);
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(callRemote({ deadline: 0 }, policy, unused)).rejects.toMatchObject({ code: 'TIMEOUT' });
  });
});

describe('turns', () => {
  test('are given in order, to so many at once, and none is held between two attempts', async () => {
    const { clock, limiter, policy, context } = setup({ max: 1 });
    const begun: string[] = [];
    const named = (name: string, fails = false) =>
      watch(
        callRemote(context, policy, async ({ number }) => {
          begun.push(`${name}${number}`);
          if (fails && number === 1) throw new Error('no');
          return name;
        }),
      );
    const first = named('a', true);
    named('b');
    named('c');
    expect(limiter.figures()).toEqual({ active: 1, waiting: 2, max: 1 });
    await clock.advance(0);
    expect(begun).toEqual(['a1', 'b1', 'c1']);
    await clock.advance(50);
    expect(first.outcome).toEqual({ value: 'a' });
    expect(limiter.figures()).toEqual({ active: 0, waiting: 0, max: 1 });
  });

  test('are waited for until the deadline, or the caller goes', async () => {
    const { clock, limiter, policy, context } = setup({ max: 1 });
    watch(callRemote(context, policy, never));
    const late = watch(callRemote({ deadline: 100 }, policy, never));
    const controller = new AbortController();
    const gone = watch(callRemote({ ...context, signal: controller.signal }, policy, never));
    await clock.advance(100);
    controller.abort();
    await settled();
    expect([late.outcome?.code, gone.outcome?.code]).toEqual(['TIMEOUT', 'ABORTED']);
    expect(limiter.figures().waiting).toBe(0);
  });

  test('end with the close: who waits at once, who has one at its deadline', async () => {
    const { clock, limiter, policy, context } = setup({ max: 2 });
    let finish!: (value: string) => void;
    const slow = watch(callRemote(context, policy, () => new Promise<string>((resolve) => (finish = resolve))));
    const hanging = watch(callRemote(context, policy, never));
    const waiting = watch(callRemote(context, policy, never));
    const closed = watch(limiter.close(300));
    await settled();
    expect(waiting.outcome?.code).toBe('CLOSED');
    finish('done');
    await settled();
    expect(slow.outcome).toEqual({ value: 'done' });
    await clock.advance(300);
    expect(closed.outcome).toEqual({ value: undefined });
    await settled();
    expect(hanging.outcome?.code).toBe('CLOSED');
    await expect(callRemote(context, policy, never)).rejects.toMatchObject({ code: 'CLOSED' });
    await limiter.close(0);
  });
});

describe('delays', () => {
  test('double up to the most, with full jitter', () => {
    const delays = [1, 2, 3, 4, 5].map((failed) => retryDelay(RETRY, failed, undefined, () => 1));
    expect(delays).toEqual([100, 200, 400, 800, 1_000]);
    expect(retryDelay(RETRY, 3, undefined, () => 0)).toBe(0);
    expect(retryDelay(RETRY, 1, 2_000, () => 0.5)).toBe(2_050);
  });

  test.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Thu, 01 Jan 2015 00:00:30 GMT', 0],
    ['-5', undefined],
    ['soon', undefined],
    ['', undefined],
    [null, undefined],
  ])('Retry-After: %s', (header, expected) => {
    expect(parseRetryAfter(header, new Date('2026-01-01T00:00:00Z'))).toBe(expected);
  });
});
