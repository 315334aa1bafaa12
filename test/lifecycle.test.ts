import { describe, expect, test } from '@jest/globals';
import { isStorageError, StorageError } from '../src/errors.js';
import { CLOSE_GRACE, Lifecycle, type LifecycleState, type Managed } from '../src/lifecycle.js';
import { ManualClock, settled } from './manual-clock.js';
import { Gate, ProbeComponent } from './probe-component.js';

const OPEN_TIMEOUT = 10_000;
const DRAIN_TIMEOUT = 5_000;

function critical(component: ProbeComponent, after?: string[]): Managed {
  return { component, critical: true, ...(after === undefined ? {} : { after }) };
}

function optional(component: ProbeComponent, after?: string[]): Managed {
  return { component, critical: false, ...(after === undefined ? {} : { after }) };
}

function setUp(compose: () => readonly Managed[] | Promise<readonly Managed[]>) {
  const clock = new ManualClock();
  const states: LifecycleState[] = [];
  const lifecycle = new Lifecycle({
    components: async () => compose(),
    clock,
    openTimeout: OPEN_TIMEOUT,
    drainTimeout: DRAIN_TIMEOUT,
    onState: (state) => void states.push(state),
  });
  return { clock, lifecycle, states };
}

async function failureOf(promise: Promise<unknown>): Promise<StorageError> {
  const reason: unknown = await promise.then(
    () => new Error('it resolved'),
    (error: unknown) => error,
  );
  if (!isStorageError(reason)) throw reason;
  return reason;
}

function statesOf(lifecycle: Lifecycle): Record<string, string> {
  return Object.fromEntries(lifecycle.components().map(({ name, state }) => [name, state]));
}

const never = (): Promise<never> => new Promise<never>(() => undefined);

describe('opening', () => {
  test('a thousand calls at once open once', async () => {
    const pool = new ProbeComponent('main');
    const { lifecycle, states } = setUp(() => [critical(pool)]);
    await Promise.all(Array.from({ length: 1000 }, () => lifecycle.open()));
    await lifecycle.open();
    expect(pool.opens).toBe(1);
    expect(states).toEqual(['opening', 'ready']);
  });

  test('a failed opening is not remembered, and what had opened is closed in reverse', async () => {
    const journal: string[] = [];
    let attempt = 0;
    const { lifecycle, states } = setUp(() => {
      attempt += 1;
      const failing = attempt === 1 ? { open: () => Promise.reject(new Error('password=hunter2')) } : {};
      return [
        critical(new ProbeComponent('pool', {}, journal)),
        critical(new ProbeComponent('backend', {}, journal), ['pool']),
        critical(new ProbeComponent('vectors', failing, journal), ['backend']),
      ];
    });
    const error = await failureOf(lifecycle.open());
    expect(error).toMatchObject({ code: 'UNAVAILABLE', component: 'vectors', operation: 'open' });
    expect(error.message).not.toContain('hunter2');
    expect((error.cause as Error).message).toBe('password=hunter2');
    expect(journal).toEqual(['open pool', 'open backend', 'open vectors', 'close backend', 'close pool']);
    expect(lifecycle.state).toBe('failed');
    expect(() => lifecycle.begin()).toThrow(expect.objectContaining({ code: 'CLOSED', cause: error }));

    await lifecycle.open();
    expect(lifecycle.state).toBe('ready');
    expect(states).toEqual(['opening', 'failed', 'opening', 'ready']);
  });

  test.each<[string, () => Promise<void>, string]>([
    ['throws synchronously', () => raise(new TypeError('no')), 'TypeError'],
    ['rejects with a text', () => rejectWith('postgres://u:secret@h'), 'a string'],
    ['rejects with undefined', () => rejectWith(undefined), 'undefined'],
    ['rejects with a code', () => rejectWith(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })), 'ECONNREFUSED'],
  ])('a component that %s is named', async (_, open, shown) => {
    const { lifecycle } = setUp(() => [critical(new ProbeComponent('main', { open }))]);
    const error = await failureOf(lifecycle.open());
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.message).toBe(`main did not open (${shown})`);
  });

  test('a StorageError of a component stays itself', async () => {
    const refused = new StorageError('UNAUTHORIZED', 'The credentials were refused');
    const { lifecycle } = setUp(() => [critical(new ProbeComponent('main', { open: () => Promise.reject(refused) }))]);
    expect(await failureOf(lifecycle.open())).toBe(refused);
  });

  test('a component opens after those it rides on, unrelated ones at the same time', async () => {
    const journal: string[] = [];
    const slow = new Gate();
    const { lifecycle } = setUp(() => [
      critical(new ProbeComponent('rider', {}, journal), ['slow']),
      critical(new ProbeComponent('slow', { open: () => slow.promise }, journal)),
      critical(new ProbeComponent('other', {}, journal)),
    ]);
    const opening = lifecycle.open();
    await settled();
    expect(journal).toEqual(['open slow', 'open other']);
    slow.resolve();
    await opening;
    expect(journal).toEqual(['open slow', 'open other', 'open rider']);
  });

  test('what does not fit together is refused before anything opens', async () => {
    const a = new ProbeComponent('a');
    const b = new ProbeComponent('b');
    const circle = setUp(() => [critical(a, ['b']), critical(b, ['a'])]);
    expect(await failureOf(circle.lifecycle.open())).toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('a -> b -> a'),
    });
    const absent = setUp(() => [critical(a, ['nowhere'])]);
    expect((await failureOf(absent.lifecycle.open())).message).toContain('nowhere');
    const twice = setUp(() => [critical(a), optional(new ProbeComponent('a'))]);
    expect((await failureOf(twice.lifecycle.open())).code).toBe('CONFIGURATION');
    expect(a.opens + b.opens).toBe(0);
  });

  test('a composition that fails is a failed opening', async () => {
    const faults = new StorageError('CONFIGURATION', 'Two faults');
    expect(await failureOf(setUp(() => raise(faults)).lifecycle.open())).toBe(faults);
    const { lifecycle } = setUp(() => raise(new Error('broken')));
    expect((await failureOf(lifecycle.open())).code).toBe('INTERNAL');
    expect(lifecycle.state).toBe('failed');
  });

  test('a listener that throws changes nothing', async () => {
    const lifecycle = new Lifecycle({
      components: async () => [],
      clock: new ManualClock(),
      openTimeout: 1,
      drainTimeout: 1,
      onState: () => raise(new Error('listener')),
    });
    await lifecycle.open();
    expect(lifecycle.state).toBe('ready');
    await lifecycle.close();
    expect(lifecycle.state).toBe('closed');
  });
});

describe('the time for opening', () => {
  test('names what still opens, and closes its late result', async () => {
    const gate = new Gate();
    const fast = new ProbeComponent('fast');
    const slow = new ProbeComponent('slow', { open: () => gate.promise });
    const { clock, lifecycle } = setUp(() => [critical(fast), critical(slow)]);
    const failing = failureOf(lifecycle.open());
    await clock.advance(OPEN_TIMEOUT);
    const error = await failing;
    expect(error).toMatchObject({ code: 'TIMEOUT', details: { components: ['slow'] } });
    expect(slow.signal?.aborted).toBe(true);
    expect([fast.closes, slow.closes]).toEqual([1, 0]);
    gate.resolve();
    await settled();
    expect(slow.closes).toBe(1);
    expect(clock.timers).toBe(0);
  });

  test('bounds the composition too', async () => {
    const { clock, lifecycle } = setUp(never);
    const failing = failureOf(lifecycle.open());
    await clock.advance(OPEN_TIMEOUT);
    expect((await failing).code).toBe('TIMEOUT');
  });

  test('one that is not critical does not hold the others up, and heals when its result comes', async () => {
    const gate = new Gate();
    const slow = new ProbeComponent('slow', { open: () => gate.promise });
    const { clock, lifecycle } = setUp(() => [critical(new ProbeComponent('main')), optional(slow)]);
    const opening = lifecycle.open();
    await clock.advance(OPEN_TIMEOUT);
    await opening;
    expect(lifecycle.state).toBe('ready');
    expect(lifecycle.components()[1]).toMatchObject({ state: 'retrying', error: { code: 'TIMEOUT' } });
    gate.resolve();
    await settled();
    expect(statesOf(lifecycle)).toEqual({ main: 'open', slow: 'open' });
    expect(slow.opens).toBe(1);
  });

  test('a sibling that ignores the signal holds a failure up for a second at most', async () => {
    const deaf = new ProbeComponent('deaf', { open: never });
    const { clock, lifecycle } = setUp(() => [
      critical(deaf),
      critical(new ProbeComponent('main', { open: () => Promise.reject(new Error('down')) })),
    ]);
    const failing = failureOf(lifecycle.open());
    await clock.advance(CLOSE_GRACE);
    expect((await failing).component).toBe('main');
  });
});

describe('closing', () => {
  test('before any opening, again, and at once: closed, without an error', async () => {
    const { lifecycle, states } = setUp(() => []);
    await Promise.all([lifecycle.close(), lifecycle.close()]);
    await lifecycle.close();
    expect(states).toEqual(['closed']);
  });

  test('concurrent calls share one closing, in the reverse order of opening', async () => {
    const journal: string[] = [];
    const { lifecycle, states } = setUp(() => [
      critical(new ProbeComponent('a', {}, journal)),
      critical(new ProbeComponent('b', {}, journal)),
      critical(new ProbeComponent('c', {}, journal), ['a']),
    ]);
    await lifecycle.open();
    journal.length = 0;
    const first = lifecycle.close();
    expect(lifecycle.close()).toBe(first);
    await first;
    expect(journal).toEqual(['close c', 'close b', 'close a']);
    expect(states).toEqual(['opening', 'ready', 'draining', 'closed']);
  });

  test('during opening it wins: the signal aborts, open() is refused, what opened is closed', async () => {
    const gate = new Gate();
    const fast = new ProbeComponent('fast');
    const slow = new ProbeComponent('slow', { open: () => gate.promise });
    const rider = new ProbeComponent('rider');
    const { lifecycle, states } = setUp(() => [critical(fast), critical(slow), critical(rider, ['slow'])]);
    const refused = failureOf(lifecycle.open());
    await settled();
    const closing = lifecycle.close();
    await settled();
    expect(slow.signal?.aborted).toBe(true);
    gate.resolve();
    await closing;
    expect((await refused).code).toBe('CLOSED');
    expect([fast.closes, slow.closes, rider.opens]).toEqual([1, 1, 0]);
    expect(states).toEqual(['opening', 'draining', 'closed']);
  });

  test('during composition nothing opens', async () => {
    const gate = new Gate<readonly Managed[]>();
    const pool = new ProbeComponent('main');
    const { lifecycle } = setUp(() => gate.promise);
    const refused = failureOf(lifecycle.open());
    await lifecycle.close();
    expect((await refused).code).toBe('CLOSED');
    gate.resolve([critical(pool)]);
    await settled();
    expect(pool.opens).toBe(0);
  });

  test('a component whose opening never settles does not hold the close up', async () => {
    const { clock, lifecycle } = setUp(() => [critical(new ProbeComponent('deaf', { open: never }))]);
    const refused = failureOf(lifecycle.open());
    const closing = lifecycle.close({ deadline: 100 });
    await clock.advance(100);
    await closing;
    expect((await refused).code).toBe('CLOSED');
    expect(lifecycle.state).toBe('closed');
  });

  test('a component whose close never settles is abandoned; the one it rides on is closed', async () => {
    const pool = new ProbeComponent('pool');
    const hanging = new ProbeComponent('hanging', { close: never });
    const throwing = new ProbeComponent('throwing', { close: () => raise(new Error('no')) });
    const { clock, lifecycle } = setUp(() => [critical(pool), critical(hanging, ['pool']), critical(throwing)]);
    await lifecycle.open();
    const closing = lifecycle.close({ deadline: 200 });
    await clock.advance(200);
    expect(lifecycle.state).toBe('draining');
    await clock.advance(CLOSE_GRACE);
    await closing;
    expect([pool.closes, throwing.closes]).toEqual([1, 1]);
    const errors = lifecycle.components().map(({ name, error }) => [name, error?.code]);
    expect(errors).toEqual([
      ['pool', undefined],
      ['hanging', 'TIMEOUT'],
      ['throwing', 'UNAVAILABLE'],
    ]);
  });

  test('open() works again afterwards, also when it does not wait for the close', async () => {
    const composed: ProbeComponent[] = [];
    const { lifecycle } = setUp(() => {
      const pool = new ProbeComponent('main');
      composed.push(pool);
      return [critical(pool)];
    });
    await lifecycle.open();
    void lifecycle.close();
    await lifecycle.open();
    expect(lifecycle.state).toBe('ready');
    expect(composed.map(({ opens, closes }) => [opens, closes])).toEqual([
      [1, 1],
      [1, 0],
    ]);
    void lifecycle.close();
    const refused = failureOf(lifecycle.open());
    await lifecycle.close();
    expect((await refused).code).toBe('CLOSED');
    expect(lifecycle.state).toBe('closed');
    expect(composed.length).toBe(2);
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31])('a deadline of %p is refused', async (deadline) => {
    const { lifecycle } = setUp(() => []);
    await lifecycle.open();
    expect((await failureOf(lifecycle.close({ deadline }))).code).toBe('VALIDATION');
    expect(lifecycle.state).toBe('ready');
  });
});

describe('work in flight', () => {
  test('is refused unless ready', async () => {
    const { lifecycle } = setUp(() => []);
    expect(() => lifecycle.begin()).toThrow(/not open \(idle\)/);
    await lifecycle.open();
    lifecycle.begin()();
    await lifecycle.close();
    expect(() => lifecycle.begin()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });

  test('is waited for; new work is refused meanwhile; components learn the deadline', async () => {
    const pool = new ProbeComponent('main');
    const { clock, lifecycle } = setUp(() => [critical(pool)]);
    await lifecycle.open();
    const first = lifecycle.begin();
    const second = lifecycle.begin();
    const closing = lifecycle.close();
    expect(lifecycle.state).toBe('draining');
    expect(() => lifecycle.begin()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    first();
    first();
    await settled();
    expect(pool.closes).toBe(0);
    second();
    await closing;
    expect(pool.closeDeadline).toBe(clock.monotonic() + DRAIN_TIMEOUT);
    expect(clock.timers).toBe(0);
  });

  test('is cut off at the deadline, and its late release does not count in the next life', async () => {
    const pool = new ProbeComponent('main');
    const { clock, lifecycle } = setUp(() => [critical(pool)]);
    await lifecycle.open();
    const release = lifecycle.begin();
    const closing = lifecycle.close({ deadline: 300 });
    await clock.advance(299);
    expect(pool.closes).toBe(0);
    await clock.advance(1);
    await closing;
    expect(pool.closes).toBe(1);

    await lifecycle.open();
    const other = lifecycle.begin();
    release();
    const again = lifecycle.close();
    await settled();
    expect(lifecycle.state).toBe('draining');
    other();
    await again;
  });
});

describe('a component that is not critical', () => {
  test('is tried again with growing pauses until it opens', async () => {
    let refusals = 3;
    const flaky = new ProbeComponent('flaky', {
      open: () => (refusals-- > 0 ? Promise.reject(new Error('down')) : Promise.resolve()),
    });
    const { clock, lifecycle } = setUp(() => [critical(new ProbeComponent('main')), optional(flaky)]);
    await lifecycle.open();
    expect(lifecycle.state).toBe('ready');
    expect(lifecycle.components()[1]).toMatchObject({
      name: 'flaky',
      critical: false,
      state: 'retrying',
      error: { code: 'UNAVAILABLE', component: 'flaky' },
    });
    await clock.advance(499);
    expect(flaky.opens).toBe(1);
    await clock.advance(501);
    expect(flaky.opens).toBe(2);
    await clock.advance(2_000);
    expect(flaky.opens).toBe(3);
    await clock.advance(4_000);
    expect(flaky.opens).toBe(4);
    expect(lifecycle.components()[1]).toMatchObject({ state: 'open' });
    expect(lifecycle.components()[1]).not.toHaveProperty('error');
    expect(clock.timers).toBe(0);
    await lifecycle.close();
    expect(flaky.closes).toBe(1);
  });

  test('is tried at least once a minute', async () => {
    const down = new ProbeComponent('down', { open: () => Promise.reject(new Error('down')) });
    const { clock, lifecycle } = setUp(() => [optional(down)]);
    await lifecycle.open();
    await clock.advance(300_000);
    const before = down.opens;
    await clock.advance(600_000);
    expect(down.opens - before).toBeGreaterThanOrEqual(9);
    expect(down.opens - before).toBeLessThanOrEqual(21);
  });

  test('is not tried again after the close, and one that was opening is closed', async () => {
    const gate = new Gate();
    let first = true;
    const component = new ProbeComponent('late', {
      open: () => {
        if (!first) return gate.promise;
        first = false;
        return Promise.reject(new Error('down'));
      },
    });
    const down = new ProbeComponent('down', { open: () => Promise.reject(new Error('down')) });
    const { clock, lifecycle } = setUp(() => [optional(component), optional(down)]);
    await lifecycle.open();
    await clock.advance(1_000);
    expect(component.opens).toBe(2);
    const closing = lifecycle.close();
    gate.resolve();
    await closing;
    expect(component.closes).toBe(1);
    const tries = down.opens;
    await clock.advance(120_000);
    expect(down.opens).toBe(tries);
    expect(statesOf(lifecycle)).toEqual({ late: 'closed', down: 'closed' });
  });

  test('takes what rides on it along, and brings it back when it heals', async () => {
    let up = false;
    const base = new ProbeComponent('base', { open: () => (up ? Promise.resolve() : rejectWith(new Error('down'))) });
    const rider = new ProbeComponent('rider');
    const { clock, lifecycle } = setUp(() => [optional(rider, ['base']), optional(base)]);
    await lifecycle.open();
    expect(statesOf(lifecycle)).toEqual({ rider: 'failed', base: 'retrying' });
    expect(lifecycle.components()[0]?.error?.message).toBe('rider needs base, which did not open');
    expect(rider.opens).toBe(0);
    up = true;
    await clock.advance(1_000);
    expect(statesOf(lifecycle)).toEqual({ rider: 'open', base: 'open' });
  });

  test('fails the opening when a critical one rides on it', async () => {
    const base = new ProbeComponent('base', { open: () => Promise.reject(new Error('down')) });
    const { lifecycle, clock } = setUp(() => [optional(base), critical(new ProbeComponent('rider'), ['base'])]);
    expect((await failureOf(lifecycle.open())).component).toBe('rider');
    expect(clock.timers).toBe(0);
  });
});

function raise(error: Error): never {
  throw error;
}

function rejectWith(reason: unknown): Promise<never> {
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- third parties reject with anything
  return Promise.reject(reason);
}
