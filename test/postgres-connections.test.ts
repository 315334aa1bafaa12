import { inspect } from 'node:util';
import { getEventListeners } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import { isSerializationFailure } from '../src/errors.js';
import { isStalePlan } from '../src/pools/postgres/errors.js';
import type { PostgresDialectPool, SqlPool } from '../src/pools/pool.js';
import {
  backendPid,
  context,
  describeServer,
  Fixture,
  gate,
  openContext,
  rowsOf,
  until,
} from './support/postgres/fixture.js';

let fixture: Fixture;
let observer: SqlPool;

/** Takes all connections of a pool of `max`; `end` gives them back. */
async function occupy(pool: SqlPool, more: Partial<OperationContext> = {}) {
  const { passed, open } = gate();
  const begun = Array.from({ length: pool.figures().max }, gate);
  const done = Promise.all(
    begun.map(({ open: begin }) =>
      pool.transaction({ context: context(more) }, async () => {
        begin();
        await passed;
      }),
    ),
  );
  await Promise.all(begun.map(({ passed: started }) => started));
  return {
    end: () => {
      open();
      return done;
    },
  };
}

const runningOn = async (pid: number): Promise<unknown> =>
  (await rowsOf(observer, `SELECT state FROM pg_stat_activity WHERE pid = ${pid}`))[0]?.['state'] ?? 'gone';

describeServer('the connections', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    const setup = await fixture.pool();
    await setup.script('CREATE TABLE item (id int PRIMARY KEY)', context());
    await fixture.closePools();
    observer = await fixture.pool({ pool: { max: 1 } });
  });
  afterEach(async () => {
    await fixture.closePools();
    observer = await fixture.pool({ pool: { max: 1 } });
  });
  afterAll(() => fixture.close());

  test('100 duplicate keys: typed errors, and the same connection throughout', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    await pool.query('INSERT INTO item VALUES (1)', [], context());
    const before = await backendPid(pool);
    for (let i = 0; i < 100; i++)
      await expect(pool.query('INSERT INTO item VALUES (1)', [], context())).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        component: 'main',
        details: { sqlstate: '23505', constraint: 'item_pkey' },
      });
    expect(await backendPid(pool)).toBe(before);
  });

  test('an exhausted pool: UNAVAILABLE with the figures within acquireTimeout, and the check answers', async () => {
    const pool = await fixture.pool({ pool: { max: 2, acquireTimeout: 5_000 } });
    const held = await occupy(pool);
    const started = performance.now();
    const refused = pool.query('SELECT 1', [], context());
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({
      status: 'degraded',
      message: 'All 2 connections are in use, and 1 operations wait',
      details: { size: 2, idle: 0, waiting: 1, max: 2 },
    });
    await expect(refused).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
      details: { size: 2, idle: 0, max: 2 },
    });
    const waited = performance.now() - started;
    expect(waited).toBeGreaterThan(4_990);
    expect(waited).toBeLessThan(30_000);
    await held.end();
    expect(pool.figures()).toEqual({ size: 2, idle: 2, waiting: 0, max: 2 });
  });

  test('who waits is served in the order of arrival; the deadline and the signal end a wait', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const held = await occupy(pool);
    const order: number[] = [];
    const waiting = [1, 2, 3].map((n) => rowsOf(pool, 'SELECT 1').then(() => order.push(n)));
    const late = pool.query('SELECT 1', [], context({ timeout: 50 }));
    const controller = new AbortController();
    const aborted = pool.query('SELECT 1', [], context({ signal: controller.signal }));
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await held.end();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  test('the deadline of a statement ends it here and on the server, and the next statement is served', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const pid = await backendPid(pool);
    const started = performance.now();
    await expect(pool.query('SELECT pg_sleep(30)', [], context({ timeout: 2_000 }))).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    expect(performance.now() - started).toBeLessThan(20_000);
    await until(async () => (await runningOn(pid)) === 'gone');
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('deadlines among many statements: each at its own time', async () => {
    const pool = await fixture.pool({ pool: { max: 4 } });
    const slow = 'SELECT pg_sleep(60)';
    const started = performance.now();
    const controller = new AbortController();
    let ended = false;
    const last = expect(pool.query(slow, [], context({ signal: controller.signal, timeout: 50_000 }))).rejects;
    const late = last.toMatchObject({ code: 'ABORTED' }).finally(() => (ended = true));
    const times = [300, 100, 200].map(async (timeout) => {
      await expect(pool.query(slow, [], context({ timeout }))).rejects.toMatchObject({ code: 'TIMEOUT' });
      expect(performance.now() - started).toBeGreaterThan(timeout - 5);
    });
    await Promise.all(times);
    expect(ended).toBe(false);
    expect(performance.now() - started).toBeLessThan(30_000);
    controller.abort();
    await late;
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('the signal ends a statement here and on the server', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const pid = await backendPid(pool);
    const controller = new AbortController();
    const running = pool.query('SELECT pg_sleep(30)', [], context({ signal: controller.signal }));
    await until(async () => (await runningOn(pid)) === 'active');
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    await until(async () => (await runningOn(pid)) === 'gone');
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test("the server's own limit: a cap by the settings, and room for a longer deadline without one", async () => {
    // Its connections are opened within it, too.
    const capped = await fixture.pool({ statementTimeout: 2_000 });
    await expect(capped.query('SELECT pg_sleep(30)', [], context())).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { sqlstate: '57014' },
    });
    const pool = await fixture.pool({ pool: { max: 1 } });
    const limit = async (timeout: number) =>
      (await pool.query("SELECT current_setting('statement_timeout') AS t", [], context({ timeout }))).rows[0]?.['t'];
    expect(await limit(20_000)).toBe('1min');
    expect(parseInt(String(await limit(300_000)))).toBeGreaterThanOrEqual(300);
    expect(await limit(Infinity)).toBe('0');
    expect(await limit(1_000)).toBe('1min');
    await expect(
      pool.transaction({ context: context({ timeout: 3_600_000 }) }, (session) =>
        rowsOf(pool, "SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float8 AS t", session),
      ),
    ).resolves.toEqual([{ t: expect.closeTo(3_601, -1) as unknown }]);
  });

  test("the host's statements have no limit of the server's but one that the settings say", async () => {
    const limit = "SELECT current_setting('statement_timeout') AS t";
    for (const [settings, query, expected] of [
      [{}, '', '0'],
      [{ statementTimeout: 7_000 }, '', '7s'],
      [{}, '?options=-c%20statement_timeout%3D9000', '9s'],
    ] as const) {
      const pool = await fixture.pool({ ...settings, pool: { max: 1 } }, `${fixture.url}${query}`);
      const host = async () => (await (pool.raw!.client() as HostPool).query(limit)).rows[0]!.t;
      const own = async (timeout: number) => (await pool.query(limit, [], context({ timeout }))).rows[0]!['t'];
      const inTransaction = () => pool.transaction({ context: context() }, (session) => rowsOf(pool, limit, session));
      expect(await host()).toBe(expected);
      expect(await host()).toBe(expected);
      const long = await own(3_600_000);
      expect(await host()).toBe(expected);
      if (expected !== '0') expect([long, await own(1_000)]).toEqual([expected, expected]);
      if (expected !== '0') continue;
      // The library's have theirs, whoever had the connection before.
      expect(await inTransaction()).not.toEqual([{ t: '0' }]);
      expect(await own(20_000)).toBe('1min');
      expect(await own(3_600_000)).not.toBe('1min');
      expect(await own(20_000)).toBe('1min');
      await own(3_600_000);
      expect(await host()).toBe('0');
    }
  });

  test('behind a change of its limit a statement hears its signal and its deadline, and rows are copied', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const host = () => (pool.raw!.client() as HostPool).query('SELECT 1');
    await host();
    const slow = 'SELECT pg_sleep(30)';
    await expect(pool.query(slow, [], context({ timeout: 100 }))).rejects.toMatchObject({ code: 'TIMEOUT' });
    await host();
    const signal = AbortSignal.timeout(100);
    await expect(pool.query(slow, [], context({ signal, timeout: 50_000 }))).rejects.toMatchObject({ code: 'ABORTED' });
    await host();
    await (pool as PostgresDialectPool).copyIn('item', ['1001\n', '1002\n'], context({ timeout: 50_000 }));
    expect(await rowsOf(pool, 'SELECT id FROM item WHERE id > 1000 ORDER BY id')).toEqual([{ id: 1001 }, { id: 1002 }]);
  });

  test('a signal that aborts before a statement is sent costs no connection', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const pid = await backendPid(pool);
    const controller = new AbortController();
    const asked = pool.query('SELECT 1', [], context({ signal: controller.signal, timeout: 300_000 }));
    controller.abort();
    await expect(asked).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await backendPid(pool)).toBe(pid);
  });

  test('a transaction that a statement leaves open is undone; settings of a session are left to its pooler', async () => {
    for (const [pooler, kept] of [
      ['none', false],
      ['transaction', true],
    ] as const) {
      const pool = await fixture.pool({ pooler, pool: { max: 1 } });
      await rowsOf(pool, "SELECT set_config('statement_timeout', '12s', false)");
      const pid = await backendPid(pool);
      await expect(rowsOf(pool, 'BEGIN')).rejects.toMatchObject({ code: 'VALIDATION' });
      const [row] = await rowsOf(pool, "SELECT current_setting('statement_timeout') AS t, pg_backend_pid() AS pid");
      expect(row!['pid']).toBe(pid);
      expect(row!['t'] === '12s').toBe(kept);
    }
  });

  test('a check whose signal has aborted already is none', async () => {
    const pool = await fixture.pool();
    expect(await pool.check(AbortSignal.abort())).toMatchObject({ status: 'unhealthy' });
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy' });
  });

  test('a plan that no longer fits is known in every language', () => {
    const fault = (routine: string) => Object.assign(new Error('Plan'), { code: '0A000', severity: 'FEHLER', routine });
    expect(isStalePlan(fault('RevalidateCachedQuery'))).toBe(true);
    expect(isStalePlan(fault('transformStmt'))).toBe(false);
  });

  test('a limit of 0 is none, behind a pooler too', async () => {
    for (const pooler of ['none', 'transaction']) {
      const pool = await fixture.pool({ statementTimeout: 0, pooler, pool: { max: 1 } });
      const limit = () =>
        pool.transaction({ context: context({ timeout: 600_000 }) }, (session) =>
          rowsOf(pool, "SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::int AS t", session),
        );
      // In a pooler's session none would be for ever.
      const bound = expect.closeTo(601, -1) as unknown;
      expect(await limit()).toEqual([{ t: pooler === 'none' ? 0 : bound }]);
    }
  });

  test('the death of an idle connection and of one in use is no uncaught exception', async () => {
    const pool = await fixture.pool({ pool: { max: 2 } });
    const pid = await backendPid(pool);
    await rowsOf(observer, `SELECT pg_terminate_backend(${pid})`);
    await until(() => pool.figures().size === 0);
    const second = await backendPid(pool);
    const running = pool.query('SELECT pg_sleep(30)', [], context());
    await until(async () => (await runningOn(second)) === 'active');
    await rowsOf(observer, `SELECT pg_terminate_backend(${second})`);
    await expect(running).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    const host = await (pool.raw!.client() as HostPool).connect();
    await rowsOf(observer, `SELECT pg_terminate_backend(${host.processID})`);
    await until(() => pool.figures().size === 0);
    host.release();
    expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a connection is closed when it is idle for long, or old', async () => {
    const pool = await fixture.pool({ pool: { max: 3, idleTimeout: 300, lifetime: 0, min: 1 } });
    const held = await occupy(pool);
    expect(pool.figures().size).toBe(3);
    await held.end();
    const old = await fixture.pool({ pool: { max: 1, lifetime: 300 } });
    const first = await backendPid(old);
    await until(async () => (await runningOn(first)) === 'gone');
    await until(() => pool.figures().size === 1);
    expect(await backendPid(old)).not.toBe(first);
  });

  test('a leak is told in the health report, with the stack of who took it', async () => {
    const pool = await fixture.pool({ pool: { max: 2, leakTimeout: 50 } });
    const client = await leakOne(pool);
    const report = async () => (await pool.check(AbortSignal.timeout(20_000))) as unknown as Report;
    await until(async () => (await report()).details.leaks !== undefined);
    const { status, details } = await report();
    expect(status).toBe('degraded');
    expect(details.leaks![0]!.heldFor).toBeGreaterThanOrEqual(50);
    expect(details.leaks![0]!.stack).toContain('leakOne');
    const other = await leakOne(pool);
    const waiting = leakOne(pool);
    client.release();
    const waited = await waiting;
    await until(async () => (await report()).details.leaks?.length === 2);
    for (const { stack } of (await report()).details.leaks!) expect(stack).toContain('leakOne');
    other.release();
    waited.release();
    await until(async () => (await report()).details.leaks === undefined);
  });

  test('names stand for one text; the server keeps the plan; a plan that is gone is made again', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const named = (text: string, n: number) => pool.query(text, [n], context(), { name: 'n'.repeat(100) });
    for (const n of [1, 2, 3]) expect((await named('SELECT $1::int AS n', n)).rows).toEqual([{ n }]);
    expect((await named('SELECT $1::int + 1 AS m', 1)).rows).toEqual([{ m: 2 }]);
    const kept =
      "SELECT statement, generic_plans + custom_plans AS runs FROM pg_prepared_statements WHERE statement NOT LIKE '%prepared%'";
    expect(await rowsOf(pool, kept)).toEqual([{ statement: 'SELECT $1::int AS n', runs: 3 }]);
    await pool.script('DEALLOCATE ALL', context());
    expect((await named('SELECT $1::int AS n', 4)).rows).toEqual([{ n: 4 }]);
    const table = 'SELECT * FROM plan WHERE $1 > 0';
    await pool.script('CREATE TABLE plan AS SELECT 1 AS a', context());
    const read = () => pool.query(table, [1], context(), { name: 'plan' });
    expect((await read()).rows).toEqual([{ a: 1 }]);
    await pool.script('ALTER TABLE plan ADD b int DEFAULT 2', context());
    expect((await read()).rows).toEqual([{ a: 1, b: 2 }]);
    expect((await read()).rows).toEqual([{ a: 1, b: 2 }]);
    await read();
    await pool.script('ALTER TABLE plan DROP b', context());
    const inside = () =>
      pool.transaction({ context: context() }, (session) =>
        pool.query(table, [1], context({ session }), { name: 'plan' }),
      );
    // The unit of work runs it again, which works.
    expect(isSerializationFailure(await inside().catch((error: unknown) => error))).toBe(true);
    expect((await inside()).rows).toEqual([{ a: 1 }]);
  });

  test('a parameter that cannot be written is refused before anything is sent', async () => {
    const pool = await fixture.pool();
    await expect(pool.query('SELECT $1::timestamptz', [new Date(NaN)], context())).rejects.toMatchObject({
      code: 'VALIDATION',
    });
  });

  test('no secret is shown', async () => {
    const url = fixture.url.replace('postgres@', 'postgres:open-sesame@');
    const pool = await fixture.pool({ ssl: { mode: 'disable', key: 'open-sesame' } }, url);
    const client = await (pool.raw!.client() as HostPool).connect();
    for (const value of [pool, pool.raw!.client()]) {
      expect(inspect(value, { depth: 12, showHidden: true })).not.toContain('open-sesame');
      expect(JSON.stringify(value)).not.toContain('open-sesame');
    }
    client.release();
    await pool.close(clock.monotonic() + 1_000);
    const refused = fixture.make({}, url.replace(/\/[^/]*$/, '/no_such_database'));
    const error = await refused.open(openContext()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'CONFIGURATION', message: 'The server has no database "no_such_database"' });
    expect(inspect(error)).not.toContain('open-sesame');
  });
});

interface HostPool {
  connect(): Promise<{ release(): void; processID: number }>;
  query(text: string): Promise<{ rows: { t: string }[] }>;
}

interface Report {
  readonly status: string;
  readonly details: { readonly leaks?: readonly { readonly heldFor: number; readonly stack: string }[] };
}

function leakOne(pool: SqlPool): ReturnType<HostPool['connect']> {
  return (pool.raw!.client() as HostPool).connect();
}
