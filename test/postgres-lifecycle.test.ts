import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { systemClock as clock } from '../src/clock.js';
import type { SqlPool } from '../src/pools/pool.js';
import { AheadClock } from './support/ahead-clock.js';
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

let fixture: Fixture;
let observer: SqlPool;

const connected = async (name: string) =>
  (await rowsOf(observer, `SELECT pid FROM pg_stat_activity WHERE application_name = '${name}'`)).length;
const raw = (pool: SqlPool) => pool.raw!.client() as pg.Pool;

describeServer('opening and closing', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    observer = await fixture.pool({ pool: { max: 1 }, applicationName: 'observer' });
  });
  afterAll(() => fixture.close());

  test('a database that takes no connections for a while is found again', async () => {
    const name = new URL(fixture.url).pathname.slice(1);
    const admin = new pg.Client(serverUrl);
    await admin.connect();
    const allow = (whether: boolean): Promise<unknown> =>
      admin.query(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS ${whether}`);
    const pool = fixture.make();
    try {
      await allow(false);
      await expect(pool.open(openContext())).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    } finally {
      await allow(true);
      await admin.end();
    }
    await pool.open(openContext());
    expect(await rowsOf(pool, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await pool.close(clock.monotonic() + 1_000);
  });

  test('many openings are one; it opens again after a close', async () => {
    const pool = fixture.make({ applicationName: 'again' });
    await Promise.all(Array.from({ length: 20 }, () => pool.open(openContext())));
    expect(await connected('again')).toBe(2);
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({
      status: 'healthy',
      details: {
        size: 1,
        idle: 1,
        waiting: 0,
        max: 10,
        readOnly: false,
        version: expect.stringMatching(/^\d+/) as unknown,
      },
    });
    await pool.close(clock.monotonic() + 1_000);
    await expect(pool.query('SELECT 1', [], context())).rejects.toMatchObject({ code: 'CLOSED' });
    expect(() => pool.raw!.client()).toThrow('closed');
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'unhealthy' });
    await pool.open(openContext());
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await pool.close(clock.monotonic() + 1_000);
    await until(async () => (await connected('again')) === 0);
  });

  test('a close gives work in flight its time, rejects who waits, and leaves nobody connected', async () => {
    const pool = await fixture.pool({ pool: { max: 1 }, applicationName: 'closing' });
    const running = rowsOf(pool, 'SELECT 1 AS one, pg_sleep(0.2)');
    const waiting = expect(rowsOf(pool, 'SELECT 1')).rejects.toMatchObject({ code: 'CLOSED' });
    const closing = [pool.close(clock.monotonic() + 5_000), pool.close(clock.monotonic() + 5_000)];
    await waiting;
    await expect(rowsOf(pool, 'SELECT 1')).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await running).toMatchObject([{ one: 1 }]);
    await Promise.all(closing);
    await pool.close(0);
    await until(async () => (await connected('closing')) === 0);
  });

  test('what is not done by the deadline is cut: a statement, a transaction that hangs, a client never given back', async () => {
    const pool = await fixture.pool({ pool: { max: 3 }, applicationName: 'cut' });
    await raw(pool).connect();
    const statement = expect(rowsOf(pool, 'SELECT pg_sleep(30)')).rejects.toMatchObject({ code: 'CLOSED' });
    const begun = gate();
    const hanging = pool.transaction({ context: context() }, async (session) => {
      await rowsOf(pool, 'SELECT 1', session);
      begun.open();
      await new Promise(() => undefined);
    });
    const hung = expect(hanging).rejects.toMatchObject({ code: 'CLOSED' });
    await begun.passed;
    const started = performance.now();
    await pool.close(clock.monotonic() + 100);
    expect(performance.now() - started).toBeLessThan(20_000);
    await Promise.all([statement, hung]);
    await until(async () => (await connected('cut')) === 0);
  });

  test('a close during the opening wins', async () => {
    const pool = fixture.make({ applicationName: 'overtaken' });
    const opening = expect(pool.open(openContext())).rejects.toMatchObject({ code: 'CLOSED' });
    await pool.close(clock.monotonic() + 1_000);
    await opening;
    await until(async () => (await connected('overtaken')) === 0);
  });
});

describeServer('the raw client', () => {
  let pool: SqlPool;
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  afterEach(() => fixture.closePools());
  afterAll(() => fixture.close());

  test('is a pg.Pool on the same connections, with the same limit', async () => {
    const ahead = new AheadClock();
    pool = await fixture.pool({ pool: { max: 2, acquireTimeout: 30_000 } }, fixture.url, ahead);
    const host = raw(pool);
    expect(host).toBeInstanceOf(pg.Pool);
    expect((await host.query('SELECT $1::int AS n', [1])).rows).toEqual([{ n: 1 }]);
    expect(
      await new Promise((resolve, reject) => {
        host.query('SELECT 2 AS n', (error, result) => (error ? reject(error) : resolve(result.rows)));
      }),
    ).toEqual([{ n: 2 }]);
    const [first, second] = [await host.connect(), await host.connect()];
    expect(host.totalCount).toBe(2);
    const refused = [host.query('SELECT 1'), rowsOf(pool, 'SELECT 1')].map((work) =>
      expect(work).rejects.toMatchObject({ code: 'UNAVAILABLE' }),
    );
    await until(() => host.waitingCount === 2);
    ahead.skip(30_000);
    await Promise.all(refused);
    first.release();
    second.release();
    expect(() => first.release()).toThrow('already been released');
    await until(() => host.idleCount === 2);
  });

  test('what a client was left in does not reach the next: transaction, settings, locks, temporary tables', async () => {
    pool = await fixture.pool({ pool: { max: 1 } });
    const pid = await backendPid(pool);
    const client = await raw(pool).connect();
    await client.query('SET search_path = nowhere');
    await client.query('SELECT pg_advisory_lock(7)');
    await client.query('CREATE TEMP TABLE scrap (id int)');
    await client.query('BEGIN');
    client.release();
    const [state] = await rowsOf(
      pool,
      "SELECT pg_backend_pid() AS pid, current_setting('search_path') AS path, to_regclass('pg_temp.scrap') AS scrap, " +
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())::int AS locks, " +
        "current_setting('TimeZone') AS zone",
    );
    expect(state).toEqual({ pid, path: '"$user", public', scrap: null, locks: 0, zone: 'UTC' });
    await expect(rowsOf(pool, 'SAVEPOINT outside')).rejects.toMatchObject({ details: { sqlstate: '25P01' } });
  });

  test('an error keeps the connection; release(true) ends it', async () => {
    pool = await fixture.pool({ pool: { max: 1 } });
    const pid = await backendPid(pool);
    await expect(raw(pool).query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
    expect(await backendPid(pool)).toBe(pid);
    const client = await raw(pool).connect();
    client.release(true);
    expect(await backendPid(pool)).not.toBe(pid);
  });

  test("its end is not the pool's", async () => {
    pool = await fixture.pool();
    const host = raw(pool);
    await host.end();
    await expect(host.connect()).rejects.toThrow('after calling end');
    expect((await raw(pool).query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    expect(await rowsOf(pool, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
  });

  test("a host's own parsers change nothing of ours", async () => {
    pool = await fixture.pool();
    const parse: unknown = pg.types.getTypeParser(20);
    pg.types.setTypeParser(20, BigInt);
    try {
      expect(await rowsOf(pool, 'SELECT 1::int8 AS n')).toEqual([{ n: 1 }]);
      expect((await raw(pool).query('SELECT 1::int8 AS n')).rows).toEqual([{ n: 1n }]);
    } finally {
      pg.types.setTypeParser(20, parse as (text: string) => unknown);
    }
  });
});
