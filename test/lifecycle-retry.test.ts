import { describe, expect, test } from '@jest/globals';
import { critical, optional, setUp, failureOf, statesOf, rejectWith } from './support/lifecycle-setup.js';
import { Gate, ProbeComponent } from './support/probe-component.js';

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

  test('is told once of an outage, and again of the next opening that fails', async () => {
    const told: string[] = [];
    let refusals = 3;
    const component = new ProbeComponent('flaky', {
      open: () => (refusals-- > 0 ? Promise.reject(new Error('secret')) : Promise.resolve()),
    });
    const rider = optional(new ProbeComponent('rider'), ['flaky']);
    const { clock, lifecycle } = setUp(() => [optional(component), rider], {
      onFault: (error) => void told.push(error.message),
    });
    await lifecycle.open();
    const first = 'flaky did not open, and is tried again in the background: flaky did not open (Error)';
    expect(told).toEqual([first]);
    await clock.advance(60_000);
    expect(statesOf(lifecycle)).toEqual({ flaky: 'open', rider: 'open' });
    expect(told).toEqual([first]);
    await lifecycle.close();
    refusals = 1;
    await lifecycle.open();
    expect(told).toEqual([first, first]);
    await lifecycle.close();
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
