/** A server of the test's own, killed and started again under load, frozen, full, and turned read-only. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import { isStorageError } from '../src/errors.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, Fixture, onEach, rowsOf, until } from './support/postgres/fixture.js';
import { OwnServer, serverPrograms } from './support/postgres/own-server.js';

const programs = serverPrograms();
const describeOwn = programs === undefined ? describe.skip : describe;

let server: OwnServer;
let fixture: Fixture;

/** Writes one row after the other until told to stop; keeps what was acknowledged, and the codes of what was not. */
function load(pool: SqlPool, workers: number) {
  const acknowledged: number[] = [];
  const codes = new Map<string, number>();
  const foreign: unknown[] = [];
  let next = 0;
  let stopped = false;
  const work = async (): Promise<void> => {
    while (!stopped) {
      const id = next++;
      try {
        if (id % 2 === 0) await pool.query('INSERT INTO item VALUES ($1)', [id], context());
        else
          await pool.transaction({ context: context() }, (session) =>
            pool.query('INSERT INTO item VALUES ($1)', [id], context({ session })),
          );
        acknowledged.push(id);
      } catch (error) {
        if (isStorageError(error)) codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
        else foreign.push(error);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  };
  const done = Promise.all(Array.from({ length: workers }, work));
  return {
    acknowledged,
    codes,
    foreign,
    stop: () => {
      stopped = true;
      return done;
    },
  };
}

describeOwn(
  `a server of its own${programs === undefined ? ' (waits for PostgreSQL to be installed here)' : ''}`,
  () => {
    beforeAll(async () => {
      server = await OwnServer.create(programs!);
      server.start();
      await server.ready();
      await until(() =>
        Fixture.open(server.url).then(
          (opened) => Boolean((fixture = opened)),
          () => false,
        ),
      );
    });
    afterEach(() => fixture.closePools());
    afterAll(() => server.remove());

    test.each(['SIGKILL', 'SIGINT'] as const)(
      'ended by %s and started again under load: what was acknowledged is there, and service resumes within 5 s',
      async (signal) => {
        const pool = await fixture.pool({ pool: { max: 5 } });
        await pool.script('DROP TABLE IF EXISTS item; CREATE TABLE item (id int PRIMARY KEY)', context());
        const running = load(pool, 8);
        await until(() => running.acknowledged.length > 300);
        await server.kill(signal);
        await until(() => pool.figures().size === 0);
        expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'unhealthy' });
        const before = running.acknowledged.length;
        server.start();
        await opened(fixture.make({ pool: { max: 1 } }));
        // From when it serves others: what it had to recover is no time of ours.
        const restarted = performance.now();
        await until(() => running.acknowledged.length > before);
        expect(performance.now() - restarted).toBeLessThan(5_000);
        await until(() => running.acknowledged.length > before + 100);
        await running.stop();
        expect(running.foreign).toEqual([]);
        expect([...running.codes.keys()].filter((code) => !['UNAVAILABLE', 'OUTCOME_UNKNOWN'].includes(code))).toEqual(
          [],
        );
        const kept = new Set((await rowsOf(pool, 'SELECT id FROM item')).map((row) => row['id']));
        expect(running.acknowledged.filter((id) => !kept.has(id))).toEqual([]);
        expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy' });
      },
    );

    test('frozen: deadlines, the check and the close are kept; after it thaws the service goes on', async () => {
      const pool = await fixture.pool({ pool: { max: 3 } });
      await rowsOf(pool, 'SELECT 1');
      server.signalAll('SIGSTOP');
      try {
        const started = performance.now();
        const calls = Array.from({ length: 6 }, () => rowsOfWithin(pool, 400));
        expect(await pool.check(AbortSignal.timeout(200))).toMatchObject({
          status: 'unhealthy',
          details: expect.objectContaining({ max: 3 }) as unknown,
        });
        for (const outcome of await Promise.allSettled(calls))
          expect(['TIMEOUT', 'UNAVAILABLE']).toContain((outcome as { reason: { code: string } }).reason.code);
        expect(performance.now() - started).toBeLessThan(20_000);
        const other = fixture.make({ pool: { connectTimeout: 200 } });
        await expect(other.open({ clock, signal: new AbortController().signal })).rejects.toMatchObject({
          code: 'UNAVAILABLE',
        });
      } finally {
        server.signalAll('SIGCONT');
      }
      expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      server.signalAll('SIGSTOP');
      try {
        const started = performance.now();
        const hanging = expect(rowsOf(pool, 'SELECT 1')).rejects.toMatchObject({ code: 'CLOSED' });
        await pool.close(clock.monotonic() + 200);
        await hanging;
        expect(performance.now() - started).toBeLessThan(20_000);
      } finally {
        server.signalAll('SIGCONT');
      }
    });

    test('turned read-only: UNAVAILABLE, every connection is opened anew, and the check says so', async () => {
      const pool = await fixture.pool({ pool: { max: 3 } });
      await pool.script('CREATE TABLE IF NOT EXISTS fence (id int)', context());
      const pids = async () => (await onEach(pool, 3, 'SELECT pg_backend_pid() AS pid')).map(({ pid }) => pid);
      const before = await pids();
      await pool.script('ALTER SYSTEM SET default_transaction_read_only = on', context());
      await pool.query('SELECT pg_reload_conf()', [], context());
      await until(() => allHaveReadOnly(pool, 'on'));
      await expect(pool.query('INSERT INTO fence VALUES (1)', [], context())).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        retryable: true,
        details: { sqlstate: '25006' },
      });
      const after = await pids();
      expect(after.filter((pid) => before.includes(pid))).toEqual([]);
      expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({
        status: 'degraded',
        message: 'The server accepts no writes',
      });
      const known = await pids();
      await expect(pool.query('INSERT INTO fence VALUES (1)', [], context())).rejects.toMatchObject({
        details: { sqlstate: '25006' },
      });
      // It is no news: one connection looks whether the address leads elsewhere by now.
      expect((await pids()).filter((pid) => known.includes(pid))).toHaveLength(2);
      await resetReadOnly(pool);
      expect((await pool.query('INSERT INTO fence VALUES (1)', [], context())).affected).toBe(1);
    });

    test('no more connections: UNAVAILABLE for who needs one more, service on those that are open', async () => {
      await server.kill('SIGINT');
      server.start('-c', 'max_connections=8', '-c', 'superuser_reserved_connections=0');
      const pool = fixture.make({ pool: { max: 20 } });
      await opened(pool);
      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => rowsOf(pool, 'SELECT pg_sleep(1)')));
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(refused.length).toBeGreaterThan(0);
      for (const { reason } of refused) expect(reason).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
      expect(outcomes.length - refused.length).toBeGreaterThan(3);
      expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    });
  },
);

const rowsOfWithin = (pool: SqlPool, timeout: number) => pool.query('SELECT 1', [], context({ timeout }));

async function resetReadOnly(pool: SqlPool): Promise<void> {
  const client = await (pool.raw!.client() as { connect(): Promise<RawClient> }).connect();
  await client.query('SET default_transaction_read_only = off');
  await client.query('ALTER SYSTEM RESET default_transaction_read_only');
  await client.query('SELECT pg_reload_conf()');
  client.release();
  await until(() => allHaveReadOnly(pool, 'off'));
}

/** Each connection hears of a setting for itself. */
async function allHaveReadOnly(pool: SqlPool, value: 'on' | 'off'): Promise<boolean> {
  const rows = await onEach(pool, 3, 'SHOW default_transaction_read_only');
  return rows.every((row) => row['default_transaction_read_only'] === value);
}

/** Opens the pool as soon as the server takes it. */
function opened(pool: SqlPool): Promise<void> {
  return until(() =>
    pool.open({ clock, signal: new AbortController().signal }).then(
      () => true,
      () => false,
    ),
  );
}

interface RawClient {
  query(text: string): Promise<unknown>;
  release(): void;
}
