/** A way to the server that breaks, freezes or lies. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { SqlPool } from '../src/pools/pool.js';
import {
  backendPid,
  context,
  describeServer,
  Fixture,
  gate,
  openContext,
  rowsOf,
  serverUrl,
  until,
} from './support/postgres/fixture.js';
import { ManualClock } from './support/manual-clock.js';
import { errorMessage } from './support/postgres/messages.js';
import { freePort } from './support/postgres/own-server.js';
import { Proxy } from './support/proxy.js';

let fixture: Fixture;
let proxy: Proxy;

describeServer('the network', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
  });
  afterEach(async () => {
    await fixture.closePools();
    await proxy.close();
  });
  afterAll(() => fixture.close());

  const through = (settings: Record<string, unknown> = {}) => fixture.pool(settings, fixture.through(proxy.port));

  /** Opens so many connections: each is in use while the others are. @returns their processes on the server */
  const openAll = (pool: SqlPool, count: number): Promise<number[]> => {
    const { passed, open } = gate();
    let arrived = 0;
    return Promise.all(
      Array.from({ length: count }, () =>
        pool.transaction({ context: context() }, async (session) => {
          const pid = await backendPid(pool, session);
          if (++arrived === count) open();
          await passed;
          return pid;
        }),
      ),
    );
  };

  test('connections that are reset: typed errors for what runs, and the next statement is served', async () => {
    const pool = await through({ pool: { max: 3 } });
    const running = [1, 2, 3].map(() => rowsOf(pool, 'SELECT pg_sleep(60)'));
    const outcomes = Promise.allSettled(running);
    await until(() => pool.figures().size === 3);
    proxy.cut();
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE', retryable: true } });
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a black hole: the deadline is kept, the half-open connections are given up, the service comes back', async () => {
    const pool = await through({ pool: { max: 2 } });
    await openAll(pool, 2);
    expect(pool.figures()).toMatchObject({ size: 2, idle: 2 });
    proxy.freeze();
    await expect(pool.query('SELECT 1', [], context({ timeout: 100 }))).rejects.toMatchObject({ code: 'TIMEOUT' });
    const started = performance.now();
    expect(await pool.check(AbortSignal.timeout(100))).toMatchObject({ status: 'unhealthy' });
    expect(performance.now() - started).toBeLessThan(20_000);
    proxy.thaw();
    proxy.cut();
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy' });
  });

  describe('a transaction on a server that is frozen between its statements', () => {
    const never = new Promise<never>(() => undefined);
    /** Less than the time within which a connection must be made clean. */
    const SOON = 4_500;
    /** Longer than what comes before the server is frozen. */
    const TIME = 2_500;
    /** @returns when it ended, after it froze. */
    const end = async (
      bounds: Parameters<typeof context>[0],
      work: () => Promise<unknown>,
    ): Promise<{ readonly error: unknown; readonly elapsed: number; readonly pool: SqlPool }> => {
      const pool = await through({ pool: { max: 2 } });
      let frozen = 0;
      const error: unknown = await pool
        .transaction({ context: context(bounds) }, async (session) => {
          await rowsOf(pool, 'SELECT 1', session);
          proxy.freeze();
          frozen = performance.now();
          return work();
        })
        .catch((reason: unknown) => reason);
      return { error, elapsed: performance.now() - frozen, pool };
    };

    test('ends by its deadline, also when its function threw', async () => {
      const { error, elapsed } = await end({ timeout: TIME }, () => never);
      expect(error).toMatchObject({ code: 'TIMEOUT' });
      expect(elapsed).toBeLessThan(TIME + SOON);
      proxy.thaw();
      const own = new Error('of the function');
      const thrown = await end({ timeout: TIME }, () => Promise.reject(own));
      expect(thrown.error).toBe(own);
      expect(thrown.elapsed).toBeLessThan(TIME + SOON);
    });

    test("ends by its signal, and its connection is nobody else's until it is clean", async () => {
      const controller = new AbortController();
      const { error, elapsed, pool } = await end({ signal: controller.signal }, () => {
        setTimeout(() => controller.abort(), 100);
        return never;
      });
      expect(error).toMatchObject({ code: 'ABORTED' });
      expect(elapsed).toBeLessThan(SOON);
      expect(pool.figures()).toMatchObject({ size: 1, idle: 0 });
      proxy.thaw();
      await until(() => pool.figures().idle === pool.figures().size);
      expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    });
  });

  test('after a timeout the other idle connections are tried before they are used', async () => {
    const pool = await through({ pool: { max: 3 } });
    const pids = await openAll(pool, 3);
    await expect(pool.query('SELECT pg_sleep(60)', [], context({ timeout: 500 }))).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    const before = proxy.roundTrips;
    const used = await backendPid(pool);
    expect(proxy.roundTrips - before).toBe(2);
    expect(pids).toContain(used);
    await backendPid(pool);
    expect(proxy.roundTrips - before).toBe(3);
  });

  test('a connection that was idle for long is tried before its next use', async () => {
    const manual = new ManualClock();
    const pool = await fixture.pool({ pool: { max: 1, idleTimeout: 3_600_000 } }, fixture.through(proxy.port), manual);
    const ask = () =>
      pool.query('SELECT pg_backend_pid() AS pid', [], { now: manual.now(), deadline: manual.monotonic() + 60_000 });
    const first = await ask();
    await manual.advance(40_000);
    const before = proxy.roundTrips;
    expect((await ask()).rows).toEqual(first.rows);
    expect(proxy.roundTrips - before).toBe(2);
  });

  test('who waits for a connection that the pool opened for itself hears what became of it', async () => {
    const manual = new ManualClock();
    const pool = await fixture.pool({ pool: { max: 1, min: 1 } }, fixture.through(proxy.port), manual);
    const ask = () => pool.query('SELECT 1 AS one', [], { now: manual.now(), deadline: manual.monotonic() + 60_000 });
    const openAndFail = async (before: number): Promise<Awaited<ReturnType<typeof ask>>> => {
      proxy.cut();
      await until(() => pool.figures().size === 0);
      proxy.freeze();
      await manual.advance(1_000);
      await until(() => proxy.connections === 1);
      await manual.advance(before);
      const asked = ask();
      proxy.thaw();
      proxy.cut();
      return asked;
    };
    await expect(openAndFail(0)).rejects.toMatchObject({ code: 'UNAVAILABLE', operation: 'open' });
    // It came later: what had begun before is not its answer.
    expect((await openAndFail(10)).rows).toEqual([{ one: 1 }]);
  });

  test('a server that accepts and says nothing: the connect timeout covers the whole handshake', async () => {
    proxy.freeze();
    const pool = fixture.make({ pool: { connectTimeout: 150 } }, fixture.through(proxy.port));
    await expect(pool.open(openContext())).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    const aborting = fixture.make({ pool: { connectTimeout: 60_000 } }, fixture.through(proxy.port));
    await expect(aborting.open({ clock, signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: 'ABORTED' });
    proxy.thaw();
    await aborting.open(openContext());
    expect(await rowsOf(aborting, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a server that falls silent: who waits is told that it, not the pool, gives no connection', async () => {
    const pool = await through({ pool: { acquireTimeout: 150, connectTimeout: 60_000 } });
    proxy.freeze();
    proxy.cut();
    await expect(rowsOf(pool, 'SELECT 1')).rejects.toMatchObject({
      code: expect.stringMatching(/^(UNAVAILABLE|OUTCOME_UNKNOWN)$/) as unknown,
    });
    await expect(rowsOf(pool, 'SELECT 1')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/^The server answered no new connection within \d+ ms \(0 of 10 open/) as unknown,
    });
    proxy.thaw();
  });

  test('nobody listens: UNAVAILABLE, and the same pool opens once there is somebody', async () => {
    const port = await freePort();
    const pool = fixture.make({}, fixture.through(port));
    await expect(pool.open(openContext())).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: `The connection to 127.0.0.1:${port} failed (ECONNREFUSED)`,
    });
    await expect(pool.query('SELECT 1', [], context())).rejects.toMatchObject({ code: 'CLOSED' });
    await proxy.close();
    proxy = await Proxy.open(serverUrl, port);
    await pool.open(openContext());
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('somebody else listens: what ends the connection is told apart from who refuses it', async () => {
    const other = createServer((socket: Socket) =>
      socket.on('error', () => undefined).once('data', () => socket.end()),
    );
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const { port } = other.address() as AddressInfo;
    const pool = fixture.make({}, fixture.through(port));
    await expect(pool.open(openContext())).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: `The connection to 127.0.0.1:${port} failed (closed by the other side)`,
    });
    other.close();
  });

  test('a server that goes while it is asked for another limit: the statement behind that was surely not run', async () => {
    const observer = await fixture.pool({ pool: { max: 1 } });
    const pool = await through({ pool: { max: 1 } });
    const { rows } = await pool.query('SELECT pg_backend_pid() AS pid', [], context({ timeout: 300_000 }));
    const { sent } = proxy.swallow(() => true);
    const write = pool
      .query('CREATE TABLE never (id int)', [], context({ timeout: 50_000 }))
      .catch((error: unknown) => error);
    await until(() => sent.length > 0);
    await rowsOf(observer, `SELECT pg_terminate_backend(${String(rows[0]!['pid'])})`);
    expect(await write).toMatchObject({ code: 'UNAVAILABLE', details: { sqlstate: '57P01' } });
  });

  test('a server that is silent when it is asked for another limit: the other connections are tried before their use', async () => {
    const manual = new ManualClock();
    const pool = await fixture.pool({ pool: { max: 2, min: 2 } }, fixture.through(proxy.port), manual);
    const ask = (text: string, timeout: number) =>
      pool.query(text, [], { now: manual.now(), deadline: manual.monotonic() + timeout });
    await Promise.all([1, 2].map(() => ask('SELECT pg_sleep(0.1)', 300_000)));
    expect(pool.figures()).toMatchObject({ idle: 2 });
    proxy.freeze();
    const late = expect(ask('SELECT 1', 600)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await manual.advance(600);
    await late;
    proxy.thaw();
    const before = proxy.roundTrips;
    await ask('SELECT 1', 300_000);
    expect(proxy.roundTrips - before).toBe(2);
    // The cancel was lost, and is waited for no more.
    await manual.advance(10_000);
  });

  describe('a connection that ends in the same breath in which it is ready', () => {
    /** Of the protocol: the process of the server, after which it is ready. */
    const BACKEND_KEY = Buffer.from([0x4b, 0, 0, 0, 12]);
    /** Opens a connection by `ask`, and ends it on the server before anything is heard of it. */
    const endEarly = async <R>(ask: () => Promise<R>): Promise<R> => {
      const observer = await fixture.pool({ pool: { max: 1 } });
      proxy.keepBack(BACKEND_KEY);
      const asked = ask();
      await until(() => proxy.keptBack().length > 0);
      const pid = proxy.keptBack()[0]!.readInt32BE(BACKEND_KEY.length);
      await rowsOf(observer, `SELECT pg_terminate_backend(${pid})`);
      await until(() => proxy.keptBack()[0]!.includes('57P01'));
      proxy.letGo();
      return asked;
    };

    test('is none of the pool: who waits is told, and the next statement is served', async () => {
      const pool = await through({ pool: { max: 2 } });
      const { passed, open } = gate();
      const slow = pool.transaction({ context: context() }, () => passed);
      const waiting = await endEarly(() => rowsOf(pool, 'SELECT 1').catch((error: unknown) => error));
      expect(waiting).toMatchObject({ code: 'UNAVAILABLE', message: 'The connection to the server was lost' });
      expect(pool.figures()).toMatchObject({ size: 1, waiting: 0 });
      expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      open();
      await slow;
    });

    test('is none of the check', async () => {
      const pool = await through({ pool: { max: 1 } });
      proxy.cut();
      await until(() => pool.figures().size === 0);
      expect(await endEarly(() => pool.check(AbortSignal.timeout(20_000)))).toMatchObject({ status: 'unhealthy' });
      expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy' });
    });
  });

  test.each([
    ['28000', 'UNAUTHORIZED', false, /refuses this user, host or unencrypted connection .*pg_hba\.conf.*ssl\.mode/],
    ['28P01', 'UNAUTHORIZED', false, /refuses the password/],
    ['53300', 'UNAVAILABLE', true, /no connection left \(max_connections/],
    ['57P03', 'UNAVAILABLE', true, /is starting, recovering or stopping/],
  ])('a server that refuses a connection with %s: %s', async (state, code, retryable, words) => {
    const server = createServer((socket: Socket) => {
      socket.once('data', () => socket.end(errorMessage(state, 'FATAL')));
      socket.on('error', () => undefined);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const pool = fixture.make({}, fixture.through((server.address() as AddressInfo).port));
    await expect(pool.open(openContext())).rejects.toMatchObject({
      code,
      retryable,
      message: expect.stringMatching(words),
      details: { sqlstate: state },
    });
    server.close();
  });

  test('a server that speaks no TLS: CONFIGURATION when it is required, a plain connection when it is preferred', async () => {
    const url = fixture.through(proxy.port);
    const [{ ssl }] = (await rowsOf(await through(), "SELECT current_setting('ssl') AS ssl")) as [{ ssl: string }];
    expect(ssl).toBe('off');
    await expect(fixture.make({ ssl: { mode: 'require' } }, url).open(openContext())).rejects.toMatchObject({
      code: 'CONFIGURATION',
    });
    const preferring = await fixture.pool({}, `${url}?sslmode=prefer`);
    expect(await rowsOf(preferring, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test("the clock's offset is half a round trip exact", async () => {
    const pool = await through();
    expect(Math.abs(pool.clockOffset!)).toBeLessThan(1_000);
    const shifted = new ManualClock();
    const ahead = (): number => Date.now() - shifted.now().getTime();
    const before = ahead();
    const wrong = await fixture.pool({}, fixture.through(proxy.port), shifted);
    expect(wrong.clockOffset).toBeGreaterThan(before - 1_000);
    expect(wrong.clockOffset).toBeLessThan(ahead() + 1_000);
    expect(await wrong.check(AbortSignal.timeout(20_000))).toMatchObject({
      status: 'degraded',
      message: expect.stringMatching(/clock is \d+ ms (ahead|behind)/) as unknown,
    });
  });
});
