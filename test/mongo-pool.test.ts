/** The pool over MongoDB: its lifecycle, its bounds, and what it does when the way to the server fails. */
import dns from 'node:dns';
import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { offsetClock, systemClock as clock } from '../src/clock.js';
import { isStorageError, type ErrorCode } from '../src/errors.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  clientOf,
  context,
  describeServer,
  failure,
  Fixture,
  gate,
  openContext,
  SERVERS,
} from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

/** Short enough that a test may wait for the end of it: of what is never to succeed. */
const TIMES = { pool: { connectTimeout: 2_000 } };

const ping = (pool: MongoPool, more: Parameters<typeof context>[0] = {}): Promise<unknown> =>
  pool.run('ping', context(more), (use) => use.db.command({ ping: 1 }, { signal: use.callBounds().signal }));
/** Takes a turn until it is told to give it back. */
const hold = (pool: MongoPool, until: Promise<void>): Promise<void> => pool.run('hold', context(), () => until);
const codeOf = (error: unknown): ErrorCode | undefined => (isStorageError(error) ? error.code : undefined);

describeServer('mongo', 'the pool', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await Fixture.open('mongo');
  });
  afterAll(() => fixture.close());

  test('a wrong password and a closed port are told apart, in time, without the secret', async () => {
    const wrong = fixture.url.replace('//', '//someone:hunter2@');
    const refused = await failure(fixture.pool({}, wrong));
    expect(codeOf(refused.error)).toBe('UNAUTHORIZED');
    expect(JSON.stringify(refused.error)).not.toContain('hunter2');
    const gone = await failure(fixture.pool(TIMES, 'mongodb://someone:hunter2@127.0.0.1:1/x?directConnection=true'));
    expect([codeOf(gone.error), (gone.error as { retryable?: boolean }).retryable]).toEqual(['UNAVAILABLE', true]);
    expect(gone.took).toBeLessThan(20_000);
    expect(String(gone.error)).toContain('No server can be reached at 127.0.0.1:1');
    expect(String(gone.error)).not.toContain('hunter2');
  });

  test('a URL with an option that the client does not know is a matter of the configuration', async () => {
    const { error } = await failure(fixture.pool(TIMES, `${fixture.url}&nonsense=hunter2`));
    expect(codeOf(error)).toBe('CONFIGURATION');
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });

  test('a server that accepts and never answers ends the opening in time', async () => {
    const proxy = await Proxy.open(fixture.url);
    proxy.freeze();
    const { error, took } = await failure(fixture.pool(TIMES, proxy.through(fixture.url)));
    expect(codeOf(error)).toBe('UNAVAILABLE');
    expect(took).toBeLessThan(20_000);
    const controller = new AbortController();
    const pool = fixture.make({}, proxy.through(fixture.url));
    const opening = failure(pool.open(openContext(controller.signal)));
    controller.abort(new Error('closing'));
    expect(codeOf((await opening).error)).toBe('ABORTED');
    // After a failed opening there is another client, not one that is closed for good.
    proxy.thaw();
    await pool.open(openContext());
    await ping(pool);
    await pool.close(clock.monotonic());
    await proxy.close();
  });

  test('many that open share one client; after the close nothing goes on, and it can be opened again', async () => {
    const pool = fixture.make();
    await expect(ping(pool)).rejects.toMatchObject({ code: 'CLOSED' });
    expect(() => pool.raw.client()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    await Promise.all(Array.from({ length: 20 }, () => pool.open(openContext())));
    const first = clientOf(pool);
    await Promise.all([pool.close(clock.monotonic()), pool.close(clock.monotonic())]);
    await expect(ping(pool)).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(pool.transaction({ context: context() }, async () => 1)).rejects.toMatchObject({ code: 'CLOSED' });
    await pool.open(openContext());
    expect(clientOf(pool)).not.toBe(first);
    await ping(pool);
  });

  test('a close while it opens wins', async () => {
    const pool = fixture.make();
    const opening = failure(pool.open(openContext()));
    await pool.close(clock.monotonic() + 1_000);
    expect(codeOf((await opening).error)).toBe('CLOSED');
    await expect(ping(pool)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('a close lets work end that is under way, and refuses who waits', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const { passed, open } = gate();
    const working = hold(pool, passed);
    const waiting = failure(ping(pool));
    const closing = pool.close(clock.monotonic() + 5_000);
    expect(codeOf((await waiting).error)).toBe('CLOSED');
    open();
    await Promise.all([working, closing]);
    const other = await fixture.pool();
    const cut = failure(hold(other, new Promise(() => undefined)));
    await other.close(clock.monotonic() + 50);
    expect(codeOf((await cut).error)).toBe('CLOSED');
  });

  test('turns: UNAVAILABLE after acquireTimeout, TIMEOUT at the deadline, ABORTED by the signal', async () => {
    const pool = await fixture.pool({ pool: { max: 2, acquireTimeout: 500 } });
    expect((await pool.check(AbortSignal.timeout(20_000))).status).toBe('healthy');
    const { passed, open } = gate();
    const held = [hold(pool, passed), hold(pool, passed)];
    const controller = new AbortController();
    const waits = [ping(pool), ping(pool, { timeout: 30 }), ping(pool, { signal: controller.signal })].map(failure);
    expect(pool.figures()).toMatchObject({ waiting: 3, max: 2 });
    controller.abort();
    expect((await Promise.all(waits)).map(({ error }) => codeOf(error))).toEqual(['UNAVAILABLE', 'TIMEOUT', 'ABORTED']);
    open();
    await Promise.all(held);
  });

  test('the check has a connection of its own, and tells who waits for one', async () => {
    const pool = await fixture.pool({ pool: { max: 2, acquireTimeout: 60_000 } });
    const { passed, open } = gate();
    const held = [hold(pool, passed), hold(pool, passed)];
    const controller = new AbortController();
    const waiting = failure(ping(pool, { signal: controller.signal }));
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({
      status: 'degraded',
      message: 'All 2 connections are in use, and 1 operations wait',
    });
    controller.abort();
    expect(codeOf((await waiting).error)).toBe('ABORTED');
    expect((await pool.check(AbortSignal.timeout(20_000))).status).toBe('healthy');
    open();
    await Promise.all(held);
    await Promise.all(Array.from({ length: 30 }, () => ping(pool)));
    expect(pool.figures().size).toBeLessThanOrEqual(2);
    expect(pool.figures()).toMatchObject({ waiting: 0, idle: pool.figures().size });
  });

  test('a frozen server: operations end at their deadline or signal, the check fails, and all recovers', async () => {
    const proxy = await Proxy.open(fixture.url);
    const pool = await fixture.pool({}, proxy.through(fixture.url));
    await ping(pool);
    expect((await pool.check(AbortSignal.timeout(20_000))).status).toBe('healthy');
    proxy.freeze();
    const late = await failure(ping(pool, { timeout: 200 }));
    expect(codeOf(late.error)).toBe('TIMEOUT');
    expect(late.took).toBeLessThan(20_000);
    const controller = new AbortController();
    const stopped = failure(ping(pool, { signal: controller.signal }));
    setTimeout(() => controller.abort(), 50);
    expect(codeOf((await stopped).error)).toBe('ABORTED');
    const checked = performance.now();
    expect((await pool.check(AbortSignal.timeout(400))).status).toBe('unhealthy');
    expect(performance.now() - checked).toBeLessThan(20_000);
    proxy.thaw();
    await ping(pool);
    expect((await pool.check(AbortSignal.timeout(20_000))).status).toBe('healthy');
    await proxy.close();
    const gone = await failure(ping(pool));
    expect(codeOf(gone.error)).toBe('UNAVAILABLE');
    expect(gone.took).toBeLessThan(20_000);
    await pool.close(clock.monotonic());
  });

  test('connections that are cut do not reach a reader', async () => {
    const proxy = await Proxy.open(fixture.url);
    const pool = await fixture.pool({}, proxy.through(fixture.url));
    const read = () =>
      pool.read('read', context(), (use) =>
        use.db
          .collection('none')
          .find({}, { ...use.callBounds() })
          .toArray(),
      );
    await Promise.all(Array.from({ length: 5 }, read));
    for (let i = 0; i < 5; i++) {
      proxy.cut();
      expect(await read()).toEqual([]);
    }
    await pool.close(clock.monotonic());
    await proxy.close();
  });

  test('the clock of the server is measured', async () => {
    const pool = await fixture.pool(
      {},
      fixture.url,
      offsetClock(clock, () => -3_600_000),
    );
    // Half of the time that the answer took is what it may be off.
    expect(Math.abs(pool.clockOffset - 3_600_000)).toBeLessThan(60_000);
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({
      status: 'degraded',
      message: expect.stringMatching(/clock is \d+ ms ahead/) as unknown,
    });
    expect(Math.abs(pool.clockOffset - 3_600_000)).toBeLessThan(60_000);
  });

  test('an answer that takes its time is no clock that is off', async () => {
    const proxy = await Proxy.open(fixture.url);
    const pool = await fixture.pool({}, proxy.through(fixture.url));
    await pool.check(AbortSignal.timeout(20_000));
    proxy.freeze();
    const checking = pool.check(AbortSignal.timeout(20_000));
    setTimeout(() => proxy.thaw(), 300);
    expect(await checking).toMatchObject({ status: 'healthy', details: { clockOffset: 0 } });
    expect(pool.clockOffset).toBe(0);
    await pool.close(clock.monotonic());
    await proxy.close();
  });

  test('neither the pool nor a session shows the password', async () => {
    const secret = 'pw-4711';
    const proxy = await Proxy.open(fixture.url);
    const closed = fixture.make({}, fixture.url.replace('//', `//someone:${secret}@`));
    expect(inspect(closed, { depth: 9, showHidden: true }) + JSON.stringify(closed)).not.toContain(secret);
    const pool = await fixture.pool({ applicationName: secret }, proxy.through(fixture.url));
    const shown = await pool.transaction({ context: context() }, async (session) =>
      inspect(session, { depth: 9, showHidden: true }),
    );
    expect(shown + inspect(pool, { depth: 9, showHidden: true })).not.toContain(secret);
    await pool.close(clock.monotonic());
    await proxy.close();
  });

  test('without transactions nothing of the work runs', async () => {
    if (SERVERS.ferretdb.url === '') return expect(SERVERS.ferretdb.variable).toBeDefined();
    const ferret = await Fixture.open('ferretdb');
    const pool = await ferret.pool();
    let ran = false;
    const { error } = await failure(pool.transaction({ context: context() }, async () => (ran = true)));
    expect([codeOf(error), ran, pool.transactions]).toEqual(['UNSUPPORTED', false, 'none']);
    await ferret.close();
  });
});

describeServer('ferretdb', 'names that are looked up', () => {
  let fixture: Fixture;
  const { lookup } = dns;
  const { resolve } = dns.promises;
  beforeAll(async () => {
    fixture = await Fixture.open('ferretdb');
  });
  afterAll(async () => {
    Object.assign(dns, { lookup });
    dns.promises.resolve = resolve;
    await fixture.close();
  });

  test('an opening that is aborted while it waits for them leaves no client behind', async () => {
    const proxy = await Proxy.open(fixture.url);
    const asked = gate();
    const answered = gate();
    const records = async (_name: string, type: string): Promise<unknown> => {
      asked.open();
      await answered.passed;
      if (type !== 'SRV') throw Object.assign(new Error('none'), { code: 'ENODATA' });
      return [{ name: 'one.db.test', port: proxy.port, priority: 1, weight: 1 }];
    };
    dns.promises.resolve = records as typeof resolve;
    type Found = (error: null, found: unknown, family?: number) => void;
    Object.assign(dns, {
      lookup: (_name: string, { all }: { all?: boolean }, found: Found) =>
        all === true ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4),
    });
    const url = fixture.url.replace(/^mongodb:(.*@|\/\/)[^/]+/, 'mongodb+srv:$1cluster.db.test');
    const controller = new AbortController();
    const pool = fixture.make({}, `${url.split('?')[0]}?tls=false`);
    const opening = failure(pool.open(openContext(controller.signal)));
    await asked.passed;
    controller.abort(new Error('closing'));
    expect(codeOf((await opening).error)).toBe('ABORTED');
    expect(proxy.accepted).toBe(0);
    answered.open();
    for (const end = performance.now() + 10_000; proxy.accepted === 0 || proxy.connections > 0;) {
      expect(performance.now()).toBeLessThan(end);
      await new Promise((again) => setTimeout(again, 20));
    }
    await proxy.close();
  });
});
