import { describe, expect, test } from '@jest/globals';
import type { StorageError } from '../src/errors.js';
import { CLOSE_GRACE, type Managed } from '../src/lifecycle.js';
import { DRAIN_TIMEOUT, critical, setUp, failureOf, never, raise } from './support/lifecycle-setup.js';
import { settled } from './support/manual-clock.js';
import { Gate, ProbeComponent } from './support/probe-component.js';

describe('closing', () => {
  test('before any opening, again, and at once: closed, without an error', async () => {
    const { lifecycle, states } = setUp(() => []);
    await Promise.all([lifecycle.close(), lifecycle.close()]);
    await lifecycle.close();
    expect(states).toEqual(['closed']);
  });

  test('at the moment at which an opening had waited for an earlier one to end: closed, and it can be opened again', async () => {
    const { lifecycle } = setUp(() => [critical(new ProbeComponent('main'))]);
    await lifecycle.open();
    const first = lifecycle.close();
    const refused = failureOf(lifecycle.open());
    await first;
    await lifecycle.close();
    expect((await refused).code).toBe('CLOSED');
    expect(lifecycle.state).toBe('closed');
    await lifecycle.open();
    expect(lifecycle.state).toBe('ready');
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

  test('unrelated components begin to close in the reverse order of their opening', async () => {
    const journal: string[] = [];
    const { lifecycle } = setUp(() => ['a', 'b', 'c'].map((name) => critical(new ProbeComponent(name, {}, journal))));
    await lifecycle.open();
    await lifecycle.close();
    expect(journal).toEqual(['open a', 'open b', 'open c', 'close c', 'close b', 'close a']);
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

  test.each(Array.from({ length: 24 }, (_, turn) => turn))(
    'overtakes an opening that comes to its end (%p turns before the close)',
    async (turns) => {
      for (const outcome of ['resolve', 'reject'] as const) {
        const gate = new Gate();
        const fast = new ProbeComponent('fast');
        const slow = new ProbeComponent('slow', { open: () => gate.promise });
        const { clock, lifecycle, states } = setUp(() => [critical(fast), critical(slow)]);
        const opening = lifecycle.open().then(
          () => 'open',
          (error: StorageError) => error.code,
        );
        await settled();
        if (outcome === 'resolve') gate.resolve();
        else gate.reject(new Error('down'));
        for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
        await lifecycle.close();
        const expected = states.includes('ready') ? 'open' : states.includes('failed') ? 'UNAVAILABLE' : 'CLOSED';
        expect(await opening).toBe(expected);
        expect(lifecycle.state).toBe('closed');
        expect([fast.closes, slow.closes]).toEqual([1, outcome === 'resolve' ? 1 : 0]);
        expect(clock.timers).toBe(0);
      }
    },
  );

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

  test.each([null, 5, { deadlin: 4 }, { deadline: 4, force: true }])('options of %j are refused', async (options) => {
    const { lifecycle } = setUp(() => []);
    await lifecycle.open();
    expect((await failureOf(lifecycle.close(options as never))).code).toBe('VALIDATION');
    expect(lifecycle.state).toBe('ready');
  });

  test('a deadline that is undefined is the usual one', async () => {
    const { lifecycle } = setUp(() => []);
    await lifecycle.open();
    await lifecycle.close({ deadline: undefined });
    expect(lifecycle.state).toBe('closed');
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
    lifecycle.begin()();
    await lifecycle.close();
    expect(clock.monotonic()).toBe(300);

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
