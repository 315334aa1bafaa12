import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import type { CheckResult } from '../src/component.js';
import { UnavailableError } from '../src/errors.js';
import { HealthMonitor, type HealthReport } from '../src/health.js';
import { Lifecycle } from '../src/lifecycle.js';
import { createProbes, type ProbeSource } from '../src/probes.js';
import { ProbeComponent } from './support/probe-component.js';

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A lifecycle and a monitor over one critical and one optional component, whose answers a test may change. */
function source() {
  const answers: Record<string, CheckResult> = { main: { status: 'healthy' }, 'vectors:extra': { status: 'healthy' } };
  const make = (name: string) => new ProbeComponent(name, { check: async () => answers[name]! });
  const lifecycle = new Lifecycle({
    components: async () => [
      { component: make('main'), critical: true },
      { component: make('vectors:extra'), critical: false },
    ],
    clock: systemClock,
    openTimeout: 10_000,
    drainTimeout: 10_000,
  });
  const components = () => lifecycle.components();
  const monitor = new HealthMonitor({ components, lifecycle, clock: systemClock, timeout: 5_000, cache: 0 });
  const probes = createProbes({
    live: () => monitor.live(),
    ready: () => monitor.ready(),
    startup: () => monitor.startup(),
    health: () => monitor.report(),
  });
  return { answers, lifecycle, probes };
}

async function get(url: string, init?: RequestInit): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url, init);
  expect(response.headers.get('content-type')).toBe('application/health+json');
  expect(response.headers.get('cache-control')).toBe('no-store');
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const PATHS = ['/livez', '/readyz', '/startupz', '/health'];

describe('the probes over HTTP', () => {
  test('before the opening only the process is alive', async () => {
    const { probes } = source();
    const base = await serve(probes);
    expect(await get(`${base}/livez`)).toEqual({ status: 200, body: { status: 'pass' } });
    expect(await get(`${base}/readyz`)).toEqual({
      status: 503,
      body: { status: 'fail', output: 'The storage manager is idle' },
    });
    expect((await get(`${base}/startupz`)).status).toBe(503);
    expect(await get(`${base}/health`)).toMatchObject({ status: 200, body: { status: 'warn', overall: 'unknown' } });
  });

  test('an open manager passes on all paths, whatever the query', async () => {
    const { lifecycle, probes } = source();
    await lifecycle.open();
    const base = await serve(probes);
    for (const path of PATHS) expect(await get(`${base}${path}?from=kubelet`)).toMatchObject({ status: 200 });
    await lifecycle.close();
  });

  test('HEAD has the status and headers of GET and no body', async () => {
    const { lifecycle, probes } = source();
    await lifecycle.open();
    const base = await serve(probes);
    const got = await fetch(`${base}/livez`);
    const headed = await fetch(`${base}/livez`, { method: 'HEAD' });
    expect(headed.status).toBe(200);
    expect(headed.headers.get('content-length')).toBe(got.headers.get('content-length'));
    expect(await headed.text()).toBe('');
    await lifecycle.close();
    expect((await fetch(`${base}/readyz`, { method: 'HEAD' })).status).toBe(503);
  });

  test('/health follows the draft and carries the report', async () => {
    const { answers, lifecycle, probes } = source();
    await lifecycle.open();
    const base = await serve(probes);
    answers['vectors:extra'] = { status: 'unhealthy', message: 'The service is down', details: { tries: 3 } };
    const degraded = await get(`${base}/health`);
    expect(degraded.status).toBe(200);
    expect(degraded.body).toMatchObject({
      status: 'warn',
      overall: 'degraded',
      checkedAt: expect.stringMatching(/^\d{4}-.*Z$/),
      components: {
        main: { name: 'main', status: 'healthy', critical: true, details: {} },
        'vectors:extra': { status: 'unhealthy', critical: false, details: { tries: 3 } },
      },
      checks: {
        'main:responseTime': [{ componentId: 'main', status: 'pass', observedUnit: 'ms' }],
        'vectors.extra:responseTime': [{ componentId: 'vectors:extra', status: 'fail', output: 'The service is down' }],
      },
    });
    answers['main'] = { status: 'unhealthy' };
    expect(await get(`${base}/health`)).toMatchObject({
      status: 503,
      body: { status: 'fail', overall: 'unhealthy' },
    });
    expect(await get(`${base}/readyz`)).toEqual({ status: 503, body: { status: 'fail', output: 'Unhealthy: main' } });
    expect((await get(`${base}/livez`)).status).toBe(200);
    await lifecycle.close();
  });

  test('a draining manager is not ready, and alive', async () => {
    const { lifecycle, probes } = source();
    await lifecycle.open();
    const base = await serve(probes);
    const release = lifecycle.begin();
    const closing = lifecycle.close();
    expect(await get(`${base}/readyz`)).toMatchObject({
      status: 503,
      body: { output: 'The storage manager is draining' },
    });
    expect((await get(`${base}/livez`)).status).toBe(200);
    expect((await get(`${base}/startupz`)).status).toBe(200);
    release();
    await closing;
  });

  test('other methods are refused with what is allowed', async () => {
    const base = await serve(source().probes);
    for (const path of PATHS) {
      const response = await fetch(`${base}${path}`, { method: 'POST', body: '{}' });
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    }
  });

  test('other paths are 404, or go on to the next handler', async () => {
    const { probes } = source();
    const alone = await serve(probes);
    expect((await get(`${alone}/elsewhere`)).status).toBe(404);
    expect((await get(`${alone}/livez/more`, { method: 'POST' })).status).toBe(404);
    const mounted = await serve((request, response) =>
      probes(request, response, () => response.writeHead(418).end('next')),
    );
    expect((await fetch(`${mounted}/elsewhere`)).status).toBe(418);
    expect((await fetch(`${mounted}/livez`)).status).toBe(200);
  });

  test('a source that fails is 503 and shows neither stack nor secret', async () => {
    const fault = new Error('postgres://user:hunter2@db');
    const failing: ProbeSource = {
      live: () => {
        throw fault;
      },
      ready: () => Promise.reject(fault),
      startup: () => {
        throw new UnavailableError('The pool is exhausted', { cause: fault });
      },
      health: () => Promise.reject(fault),
    };
    const base = await serve(createProbes(failing));
    for (const path of ['/livez', '/readyz', '/health'])
      expect(await get(`${base}${path}`)).toEqual({
        status: 503,
        body: { status: 'fail', output: 'The probe could not be answered' },
      });
    expect((await get(`${base}/startupz`)).body).toEqual({ status: 'fail', output: 'The pool is exhausted' });
  });

  test('the stack of who holds a connection is in the report, and not in what is answered', async () => {
    const { answers, lifecycle, probes } = source();
    await lifecycle.open();
    answers['main'] = {
      status: 'degraded',
      details: { leaks: [{ heldFor: 70, stack: 'at secretPlace (file.js:1:1)' }] },
    };
    const base = await serve(probes);
    const { body } = await get(`${base}/health`);
    expect(body).toMatchObject({ components: { main: { details: { leaks: [{ heldFor: 70 }] } } } });
    expect(JSON.stringify(body)).not.toContain('secretPlace');
    await lifecycle.close();
  });

  test('details that JSON cannot hold are told as it can, and the answer is that of the report', async () => {
    const { answers, lifecycle, probes } = source();
    await lifecycle.open();
    answers['main'] = { status: 'healthy', details: { size: 1n } };
    const base = await serve(probes);
    expect(await get(`${base}/health`)).toMatchObject({
      status: 200,
      body: { overall: 'healthy', components: { main: { details: { size: '1' } } } },
    });
    await lifecycle.close();
  });

  test('a report of another source that cannot be written is a 503, not a crash', async () => {
    const component = { name: 'main', status: 'healthy', critical: true, checkedAt: new Date() } as const;
    const report: HealthReport = {
      overall: 'healthy',
      checkedAt: new Date(),
      components: { main: { ...component, details: { size: 1n } } },
    };
    const verdict = { ok: true };
    const probes = createProbes({
      live: () => verdict,
      ready: async () => verdict,
      startup: () => verdict,
      health: async () => report,
    });
    const base = await serve(probes);
    expect((await get(`${base}/health`)).status).toBe(503);
  });

  test('an answer that someone else gave first is left alone', async () => {
    const { probes } = source();
    const base = await serve((request, response) => {
      probes(request, response);
      response.writeHead(202).end('first');
    });
    const response = await fetch(`${base}/livez`);
    expect([response.status, await response.text()]).toEqual([202, 'first']);
  });
});
