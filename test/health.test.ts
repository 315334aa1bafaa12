import { describe, expect, test } from '@jest/globals';
import type { CheckResult, HealthStatus } from '../src/component.js';
import { StorageError, UnavailableError } from '../src/errors.js';
import { HealthMonitor, overallStatus, type Monitored } from '../src/health.js';
import { Lifecycle } from '../src/lifecycle.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { Gate, ProbeComponent } from './support/probe-component.js';

const TIMEOUT = 1_000;
const CACHE = 500;

function monitorOf(components: readonly Monitored[], options: { cache?: number } = {}) {
  const clock = new ManualClock();
  const lifecycle = { state: 'ready', started: true };
  const monitor = new HealthMonitor({
    components: () => components,
    lifecycle,
    clock,
    timeout: TIMEOUT,
    cache: options.cache ?? CACHE,
  });
  return { clock, lifecycle, monitor };
}

function answering(status: HealthStatus, critical = true, name = `${status}-${critical}`): Monitored {
  return { component: new ProbeComponent(name, { check: async () => ({ status }) }), critical };
}

describe('a report', () => {
  test('carries what the component tells, its latency and the time', async () => {
    const gate = new Gate<CheckResult>();
    const component = new ProbeComponent('main', { check: () => gate.promise });
    const { clock, monitor } = monitorOf([{ component, critical: true }]);
    const pending = monitor.report();
    await clock.advance(40);
    gate.resolve({ status: 'degraded', message: 'All connections are busy', details: { size: 10, waiting: 3 } });
    const report = await pending;
    expect(report).toEqual({
      overall: 'degraded',
      checkedAt: clock.now(),
      components: {
        main: {
          name: 'main',
          status: 'degraded',
          critical: true,
          latencyMs: 40,
          message: 'All connections are busy',
          details: { size: 10, waiting: 3 },
          checkedAt: clock.now(),
        },
      },
    });
    expect(clock.timers).toBe(0);
  });

  test('runs all checks at once', async () => {
    const gates = [new Gate<CheckResult>(), new Gate<CheckResult>()];
    const components = gates.map((gate, i) => new ProbeComponent(`c${i}`, { check: () => gate.promise }));
    const { monitor } = monitorOf(components.map((component) => ({ component, critical: true })));
    const pending = monitor.report();
    expect(components.map(({ checks }) => checks)).toEqual([1, 1]);
    for (const gate of gates.reverse()) gate.resolve({ status: 'healthy' });
    expect((await pending).overall).toBe('healthy');
  });

  test('500 at once run each check once, with and without a cache', async () => {
    for (const cache of [0, CACHE]) {
      const component = new ProbeComponent('main');
      const { monitor } = monitorOf([{ component, critical: true }], { cache });
      const reports = await Promise.all(Array.from({ length: 500 }, () => monitor.report()));
      expect(component.checks).toBe(1);
      expect(reports.every(({ overall }) => overall === 'healthy')).toBe(true);
    }
  });

  test('is cached by the monotonic clock', async () => {
    const component = new ProbeComponent('main');
    const { clock, monitor } = monitorOf([{ component, critical: true }]);
    await monitor.report();
    await clock.advance(CACHE - 1);
    clock.jump(86_400_000);
    await monitor.report();
    expect(component.checks).toBe(1);
    clock.jump(-172_800_000);
    await clock.advance(1);
    await monitor.report();
    expect(component.checks).toBe(2);
  });
});

describe('a check that overruns its time', () => {
  test('is unhealthy, is aborted, is not run again while it runs, and its late result is ignored', async () => {
    const gates: Gate<CheckResult>[] = [];
    const signals: AbortSignal[] = [];
    const component = new ProbeComponent('main', {
      check: (signal) => {
        const gate = new Gate<CheckResult>();
        gates.push(gate);
        signals.push(signal);
        return gate.promise;
      },
    });
    const { clock, monitor } = monitorOf([{ component, critical: true }]);
    const pending = monitor.report();
    await clock.advance(TIMEOUT);
    const first = (await pending).components['main'];
    expect(first).toMatchObject({ status: 'unhealthy', message: 'The health check took over 1000 ms' });
    expect(first).not.toHaveProperty('latencyMs');
    expect(signals[0]?.aborted).toBe(true);

    await clock.advance(CACHE);
    expect((await monitor.report()).components['main']).toMatchObject({
      status: 'unhealthy',
      message: 'The health check has not answered for 1500 ms',
    });
    expect(component.checks).toBe(1);

    gates[0]!.resolve({ status: 'healthy' });
    await settled();
    const next = monitor.report();
    expect(component.checks).toBe(2);
    gates[1]!.resolve({ status: 'degraded' });
    expect((await next).overall).toBe('degraded');
    expect(signals[1]?.aborted).toBe(false);
  });

  test('that rejects late is no unhandled rejection and does not hold the others up', async () => {
    const gate = new Gate<CheckResult>();
    const slow = new ProbeComponent('slow', { check: () => gate.promise });
    const { clock, monitor } = monitorOf([{ component: slow, critical: false }, answering('healthy', true, 'main')]);
    const pending = monitor.report();
    await clock.advance(TIMEOUT);
    const report = await pending;
    expect(report.overall).toBe('degraded');
    expect(report.components['main']?.status).toBe('healthy');
    gate.reject(new Error('late'));
    await settled();
    expect(clock.timers).toBe(0);
  });
});

describe('a check that goes wrong', () => {
  const secret = 'postgres://user:hunter2@db/main';
  test.each<[string, () => Promise<unknown>, string]>([
    ['rejects', () => Promise.reject(new Error(secret)), 'The health check failed (Error)'],
    [
      'rejects with a code',
      () => Promise.reject(Object.assign(new Error(secret), { code: '57P03' })),
      'The health check failed (57P03)',
    ],
    [
      'rejects with a secret for a code',
      () => Promise.reject(Object.assign(new Error(secret), { code: secret })),
      'The health check failed (Error)',
    ],
    [
      'throws synchronously',
      () => {
        throw new RangeError(secret);
      },
      'The health check failed (RangeError)',
    ],
    [
      'rejects with a StorageError',
      () => Promise.reject(new UnavailableError('The pool is exhausted', { cause: new Error(secret) })),
      'The pool is exhausted',
    ],
    ['answers nothing', () => Promise.resolve(undefined), 'The health check did not answer with a status'],
    ['answers a text', () => Promise.resolve('fine'), 'The health check did not answer with a status'],
    [
      'answers another status',
      () => Promise.resolve({ status: 'ok' }),
      'The health check did not answer with a status',
    ],
    [
      'answers with a status that throws',
      () =>
        Promise.resolve({
          get status() {
            throw new Error(secret);
          },
        }),
      'The health check failed (Error)',
    ],
    [
      'answers with details that throw',
      () =>
        Promise.resolve({
          status: 'healthy',
          details: {
            get size() {
              throw new Error(secret);
            },
          },
        }),
      'The health check failed (Error)',
    ],
    [
      'rejects with an error that throws',
      () =>
        Promise.reject(
          Object.create(null, {
            code: {
              get: () => {
                throw new Error(secret);
              },
            },
          }) as Error,
        ),
      'The health check failed',
    ],
  ])('because it %s is unhealthy and shows no secret', async (_, check, message) => {
    const component = new ProbeComponent('main', { check: check as () => Promise<CheckResult> });
    const { monitor } = monitorOf([{ component, critical: true }]);
    const report = await monitor.report();
    expect(report.components['main']).toMatchObject({ status: 'unhealthy', message });
    expect(JSON.stringify(report)).not.toContain('hunter2');
  });

  test('details are plain: what JSON cannot hold keeps no report from being written', async () => {
    const circle: Record<string, unknown> = {};
    circle['circle'] = circle;
    const details = { size: 3n, since: new Date(0), circle, none: undefined, call: () => 1, deep: { rows: [7n] } };
    const component = new ProbeComponent('main', { check: async () => ({ status: 'healthy', details }) });
    const { monitor } = monitorOf([{ component, critical: true }]);
    const report = await monitor.report();
    const plain = { size: '3', since: '1970-01-01T00:00:00.000Z', circle: 'not JSON', deep: { rows: ['7'] } };
    expect(report.components['main']).toMatchObject({ status: 'healthy' });
    expect(report.components['main']?.details).toStrictEqual(plain);
    expect(JSON.parse(JSON.stringify(report))).toMatchObject({ components: { main: { details: plain } } });
  });

  test('fields that are not of their type are left out', async () => {
    const answer = { status: 'healthy', message: 7, details: 'none' } as unknown as CheckResult;
    const component = new ProbeComponent('main', { check: async () => answer });
    const { monitor } = monitorOf([{ component, critical: true }]);
    const health = (await monitor.report()).components['main'];
    expect(health).toMatchObject({ status: 'healthy', details: {} });
    expect(health).not.toHaveProperty('message');
  });
});

describe('a component that is not open', () => {
  test('is unhealthy with the cause, and is not checked', async () => {
    const component = new ProbeComponent('vectors');
    const error = new StorageError('UNAUTHORIZED', 'The credentials were refused');
    const { monitor } = monitorOf([
      { component, critical: false, state: 'retrying', error },
      { component: new ProbeComponent('main'), critical: true, state: 'opening' },
    ]);
    const { components } = await monitor.report();
    expect(components['vectors']).toMatchObject({ status: 'unhealthy', message: 'The credentials were refused' });
    expect(components['main']).toMatchObject({ status: 'unhealthy', message: 'The component is not open (opening)' });
    expect(component.checks).toBe(0);
  });
});

describe('overall', () => {
  const one = (status: HealthStatus, critical: boolean) => ({ status, critical });
  test.each<[string, { status: HealthStatus; critical: boolean }[], HealthStatus]>([
    ['no components', [], 'unknown'],
    ['all healthy', [one('healthy', true), one('healthy', false)], 'healthy'],
    ['a critical one unhealthy', [one('unhealthy', true), one('healthy', false)], 'unhealthy'],
    ['an optional one unhealthy', [one('healthy', true), one('unhealthy', false)], 'degraded'],
    ['a critical one degraded', [one('degraded', true)], 'degraded'],
    ['a critical one unknown', [one('unknown', true)], 'degraded'],
    ['an optional one unknown', [one('healthy', true), one('unknown', false)], 'degraded'],
    ['both kinds unhealthy', [one('unhealthy', false), one('unhealthy', true)], 'unhealthy'],
  ])('of %s', (_, components, expected) => {
    expect(overallStatus(components)).toBe(expected);
  });
});

describe('the verdicts', () => {
  test('ready asks the critical components only', async () => {
    const optional = new ProbeComponent('extra');
    const { monitor } = monitorOf([answering('degraded'), { component: optional, critical: false }]);
    expect(await monitor.ready()).toEqual({ ok: true });
    expect(optional.checks).toBe(0);
  });

  test('not ready names the critical components that are unhealthy', async () => {
    const { monitor } = monitorOf([answering('unhealthy', true, 'main'), answering('unhealthy', false, 'extra')]);
    expect(await monitor.ready()).toEqual({ ok: false, message: 'Unhealthy: main' });
    expect(monitor.live()).toEqual({ ok: true });
  });

  test('alive unless a check of a critical component has said that only another opening cures it', async () => {
    let answer: CheckResult = { status: 'unhealthy', final: true };
    const main = new ProbeComponent('main', { check: async () => answer });
    const extra = new ProbeComponent('extra', { check: async () => ({ status: 'unhealthy', final: true }) });
    const { clock, monitor } = monitorOf([
      { component: main, critical: true },
      { component: extra, critical: false },
    ]);
    expect(monitor.live()).toEqual({ ok: true });
    expect((await monitor.report()).components['main']).not.toHaveProperty('final');
    expect(monitor.live()).toEqual({ ok: false, message: 'Needs a restart: main' });
    for (answer of [{ status: 'healthy' }, { status: 'degraded', final: true }] as const) {
      await clock.advance(CACHE);
      await monitor.report();
      expect(monitor.live()).toEqual({ ok: true });
    }
  });

  test('not ready when the close begins while the checks run', async () => {
    const gate = new Gate<CheckResult>();
    const component = new ProbeComponent('main', { check: () => gate.promise });
    const { lifecycle, monitor } = monitorOf([{ component, critical: true }]);
    const pending = monitor.ready();
    lifecycle.state = 'draining';
    gate.resolve({ status: 'healthy' });
    expect(await pending).toEqual({ ok: false, message: 'The storage manager is draining' });
  });

  test('follow a lifecycle from its opening to its close', async () => {
    const clock = new ManualClock();
    const gate = new Gate();
    const component = new ProbeComponent('main', { open: () => gate.promise });
    const lifecycle = new Lifecycle({
      components: async () => [{ component, critical: true }],
      clock,
      openTimeout: 1_000,
      drainTimeout: 1_000,
    });
    const components = () => lifecycle.components();
    const monitor = new HealthMonitor({ components, lifecycle, clock, timeout: TIMEOUT, cache: CACHE });
    const verdicts = async () => [monitor.live().ok, (await monitor.ready()).ok, monitor.startup().ok];

    expect(await verdicts()).toEqual([true, false, false]);
    expect((await monitor.report()).overall).toBe('unknown');
    const opening = lifecycle.open();
    await settled();
    expect(await verdicts()).toEqual([true, false, false]);
    expect((await monitor.report()).overall).toBe('unhealthy');
    gate.resolve();
    await opening;
    expect(await verdicts()).toEqual([true, true, true]);

    const release = lifecycle.begin();
    const closing = lifecycle.close();
    expect(await verdicts()).toEqual([true, false, true]);
    expect((await monitor.report()).overall).toBe('healthy');
    release();
    await closing;
    expect(await verdicts()).toEqual([true, false, true]);
    expect((await monitor.report()).overall).toBe('unhealthy');
  });
});
