import { describe, expect, test } from '@jest/globals';
import { StorageError } from '../src/errors.js';
import { CLOSE_GRACE, Lifecycle } from '../src/lifecycle.js';
import {
  OPEN_TIMEOUT,
  critical,
  optional,
  setUp,
  failureOf,
  statesOf,
  never,
  raise,
  rejectWith,
} from './support/lifecycle-setup.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { Gate, ProbeComponent } from './support/probe-component.js';

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
