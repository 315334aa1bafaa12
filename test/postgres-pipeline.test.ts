/** `pipeline: true`: statements outside of transactions share connections, and each gets its own answer. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type pg from 'pg';
import { systemClock as clock } from '../src/clock.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, describeServer, Fixture, rowsOf, until } from './support/postgres/fixture.js';
import { ManualClock } from './support/manual-clock.js';
import { Proxy } from './support/proxy.js';

let fixture: Fixture;
let proxy: Proxy;
let pool: SqlPool;
let next = 0;

const named = (text: string, n: number, name?: string) =>
  pool.query(text, [n], context(), name === undefined ? undefined : { name });

/** Each statement, with what it must answer: a row, or the SQLSTATE of its error. */
const KINDS: readonly ((n: number) => Promise<void>)[] = [
  async (n) => expect((await named('SELECT $1::int AS n', n)).rows).toEqual([{ n }]),
  async (n) => expect((await named('SELECT $1::int AS n', n, 'same')).rows).toEqual([{ n }]),
  async (n) => expect((await named("SELECT $1::int AS n, 'x' AS x", n, `name ${n % 7}`)).rows).toEqual([{ n, x: 'x' }]),
  async (n) => expect((await named('SELECT $1::int AS n FROM generate_series(1, 300)', n)).rows).toHaveLength(300),
  async (n) => expect((await named('INSERT INTO item VALUES ($1)', n, 'insert')).affected).toBe(1),
  async (n) =>
    expect(named('INSERT INTO item VALUES (-1 + 0 * $1)', n)).rejects.toMatchObject({ details: { sqlstate: '23505' } }),
  async (n) => expect(named('SELECT $1::int / 0', n, 'zero')).rejects.toMatchObject({ details: { sqlstate: '22012' } }),
  async (n) =>
    expect(named('SELECT no_such_column, $1::int', n, 'wrong')).rejects.toMatchObject({
      details: { sqlstate: '42703' },
    }),
  async () =>
    expect(pool.query('SELECT $1::int AS n', ['x'], context(), { name: 'same' })).rejects.toMatchObject({
      details: { sqlstate: '22P02' },
    }),
  async (n) => {
    // Two serializable ones may refuse one another by a page that both have read.
    const [row] = await pool.transaction({ isolation: 'snapshot', context: context() }, async (session) => {
      await pool.query('INSERT INTO item VALUES ($1)', [n], context({ session }), { name: 'insert' });
      return rowsOf(pool, `SELECT id AS n FROM item WHERE id = ${n}`, session);
    });
    expect(row).toEqual({ n });
  },
  async () => expect(pool.query('BEGIN', [], context())).rejects.toMatchObject({ code: 'VALIDATION' }),
];
/** Without the control statement, which takes its neighbours with it. */
const USUAL = KINDS.length - 1;

describeServer('the pipeline', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    proxy = await Proxy.open(fixture.url);
    pool = await fixture.pool({ pipeline: true, pool: { max: 2 } }, fixture.through(proxy.port));
    await pool.script('CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (-1)', context());
  });
  afterEach(() =>
    until(() => {
      const { waiting, idle, size } = pool.figures();
      return waiting === 0 && idle === size;
    }),
  );
  afterAll(async () => {
    await fixture.close();
    await proxy.close();
  });

  test('a connection that comes back is given to 64 at most of those that wait', async () => {
    const narrow = await fixture.pool({ pipeline: true, pool: { max: 1 } });
    const waiting: Promise<unknown>[] = [];
    // The first of them waits for the transaction of the other pool, and the others of its connection for it.
    await pool.transaction({ context: context() }, async (holder) => {
      await rowsOf(pool, 'SELECT pg_advisory_xact_lock(64)', holder);
      await narrow.transaction({ context: context() }, async (session) => {
        await rowsOf(narrow, 'SELECT 1', session);
        waiting.push(rowsOf(narrow, 'SELECT pg_advisory_xact_lock(64)'));
        waiting.push(...Array.from({ length: 199 }, () => rowsOf(narrow, 'SELECT 1')));
      });
      await until(() => narrow.figures().waiting < 200);
      expect(narrow.figures().waiting).toBe(136);
    });
    await Promise.all(waiting);
    await narrow.close(0);
  });

  test('every statement gets its own answer or its own error, in any order', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.nat(USUAL - 1), { minLength: 1, maxLength: 120 }), async (kinds) => {
        await Promise.all(kinds.map((kind) => KINDS[kind]!(++next)));
      }),
      { numRuns: 60 },
    ));

  test('they do not wait for each other: many take the round trips of a few', async () => {
    const before = proxy.roundTrips;
    await Promise.all(Array.from({ length: 100 }, () => KINDS[1]!(++next)));
    expect(proxy.roundTrips - before).toBeLessThan(20);
  });

  test('a statement that begins a transaction undoes none that was acknowledged', async () => {
    for (let round = 0; round < 20; round++) {
      const ids = Array.from({ length: 30 }, () => ++next);
      const outcomes = await Promise.allSettled(
        ids.map((n, i) => (i === 10 ? pool.query('BEGIN', [], context()) : named('INSERT INTO item VALUES ($1)', n))),
      );
      const kept = new Set((await rowsOf(pool, 'SELECT id FROM item')).map((row) => row['id']));
      const acknowledged = ids.filter((_, i) => i !== 10 && outcomes[i]!.status === 'fulfilled');
      expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
      expect(outcomes[10]).toMatchObject({ status: 'rejected', reason: { code: 'VALIDATION' } });
    }
    await until(() => pool.figures().idle === pool.figures().size);
  });

  test('a limit that was set in a transaction which is undone is set again', async () => {
    const shared = await fixture.pool({ pipeline: true, pool: { max: 1 } });
    const limit = async (timeout: number) => {
      const { rows } = await shared.query('SHOW statement_timeout', [], context({ timeout }));
      return parseInt(String(rows[0]!['statement_timeout']));
    };
    const begun = expect(shared.query('BEGIN', [], context())).rejects.toMatchObject({ code: 'VALIDATION' });
    const behind = limit(300_000).catch((error: { code: string }) => error.code);
    await begun;
    expect(await behind).toBe('VALIDATION');
    expect(await limit(300_000)).toBeGreaterThanOrEqual(300);
    await shared.close(0);
  });

  test('a deadline ends its own statement; what shared the connection is told that nobody knows', async () => {
    const manual = new ManualClock();
    const shared = await fixture.pool({ pipeline: true, pool: { max: 2 } }, fixture.url, manual);
    const ask = (text: string, timeout: number) =>
      shared.query(text, [], { now: manual.now(), deadline: manual.monotonic() + timeout });
    const slow = [1, 2].map(() => ask('SELECT pg_sleep(120)', 300));
    await until(() => shared.figures().idle === 0 && shared.figures().size === 2);
    const behind = ask(`INSERT INTO item VALUES (${++next})`, 60_000);
    const sooner = ask('SELECT 1', 50);
    const refused = Promise.all([
      expect(sooner).rejects.toMatchObject({ code: 'TIMEOUT' }),
      expect(behind).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' }),
      ...slow.map((one) => expect(one).rejects.toMatchObject({ code: 'TIMEOUT' })),
    ]);
    await manual.advance(50);
    await expect(sooner).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(shared.figures().size).toBe(2);
    await manual.advance(250);
    await refused;
    expect((await ask('SELECT 1 AS one', 60_000)).rows).toEqual([{ one: 1 }]);
    await shared.close(0);
  });

  test('those of one connection hear their deadlines one after another, whichever comes first', async () => {
    const manual = new ManualClock();
    const shared = await fixture.pool({ pipeline: true, pool: { max: 1 } }, fixture.url, manual);
    const ask = (text: string, timeout: number) =>
      shared.query(text, [], { now: manual.now(), deadline: manual.monotonic() + timeout });
    await pool.transaction({ context: context() }, async (holder) => {
      await rowsOf(pool, 'SELECT pg_advisory_xact_lock(65)', holder);
      const first = ask('SELECT pg_advisory_xact_lock(65)', 60_000);
      const behind = [300, 900, 600].map((timeout) => ask('SELECT 1', timeout));
      const late = Promise.allSettled(behind);
      for (let i = 0; i < 3; i++) await manual.advance(300);
      expect(await late).toMatchObject(behind.map(() => ({ status: 'rejected', reason: { code: 'TIMEOUT' } })));
      const stopped = expect(first).rejects.toMatchObject({ code: 'TIMEOUT' });
      await manual.advance(60_000);
      await stopped;
    });
    await shared.close(0);
  });

  test('what the server answers after a deadline has ended the connection is read by nobody', async () => {
    const way = await Proxy.open(fixture.url);
    const shared = await fixture.pool({ pipeline: true, pool: { max: 1 } }, fixture.through(way.port));
    const client = await (shared.raw!.client() as pg.Pool).connect();
    const faults: unknown[] = [];
    client.on('error', ({ message }) => message.includes('message from backend') && faults.push(message));
    client.release();
    await until(() => shared.figures().idle === 1);
    // The cancel reaches the server at once, and is over for us a second later.
    way.linger();
    const slow = shared.query('SELECT pg_sleep(30)', [], context({ timeout: 100 }));
    const behind = rowsOf(shared, 'SELECT generate_series(1, 1000) AS n');
    await expect(slow).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(behind).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await shared.close(clock.monotonic() + 5_000);
    expect(faults).toEqual([]);
    await way.close();
  });

  test('a connection that is cut: each gets a typed error, and nothing acknowledged is lost', async () => {
    const ids = Array.from({ length: 400 }, () => ++next);
    const running = Promise.allSettled(ids.map((n) => named('INSERT INTO item VALUES ($1)', n, 'insert')));
    await until(() => pool.figures().idle === 0);
    proxy.cut();
    const outcomes = await running;
    const kept = new Set((await rowsOf(pool, 'SELECT id FROM item')).map((row) => row['id']));
    expect(ids.filter((id, i) => outcomes[i]!.status === 'fulfilled' && !kept.has(id))).toEqual([]);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(['OUTCOME_UNKNOWN', 'UNAVAILABLE']).toContain((outcome.reason as { code: string }).code);
  });

  test.each([
    ['that is old', { pool: { max: 2, lifetime: 300 } }, async () => undefined],
    [
      'to a server that has become another',
      { pool: { max: 2 } },
      async (busy: SqlPool) =>
        expect(
          rowsOf(busy, 'DO $$ BEGIN SET TRANSACTION READ ONLY; CREATE TABLE none (); END $$'),
        ).rejects.toMatchObject({ details: { sqlstate: '25006' } }),
    ],
  ])('a connection %s is joined no more, however many come', async (_which, settings, change) => {
    const busy = await fixture.pool({ ...settings, pipeline: true });
    const pids = new Set<unknown>();
    let stopped = false;
    const stream = async (): Promise<void> => {
      while (!stopped) pids.add((await rowsOf(busy, 'SELECT pg_backend_pid() AS pid, pg_sleep(0.02)'))[0]!['pid']);
    };
    const streams = [stream(), stream()];
    await until(() => pids.size >= 2);
    // None of these waits, so that none makes the connections whole again.
    streams.push(...Array.from({ length: 6 }, stream));
    const before = [...pids];
    await change(busy);
    // One that is joined for as long as somebody comes would never go.
    await until(async () => {
      pids.clear();
      await until(() => pids.size >= 2);
      return before.every((pid) => !pids.has(pid));
    }, 15_000);
    stopped = true;
    await Promise.all(streams);
    await busy.close(0);
  });

  test('a leak is counted from who joined last', async () => {
    const manual = new ManualClock();
    const shared = await fixture.pool({ pipeline: true, pool: { max: 1, leakTimeout: 1_000 } }, fixture.url, manual);
    const ask = () =>
      shared.query('SELECT pg_advisory_xact_lock(65)', [], {
        now: manual.now(),
        deadline: manual.monotonic() + 60_000,
      });
    const message = async () => (await shared.check(AbortSignal.timeout(20_000))).message ?? '';
    const both: Promise<unknown>[] = [];
    // Both wait for this transaction, and are held for as long as it lasts.
    await pool.transaction({ context: context() }, async (holder) => {
      await rowsOf(pool, 'SELECT pg_advisory_xact_lock(65)', holder);
      both.push(ask());
      await manual.advance(900);
      both.push(ask());
      await manual.advance(900);
      expect(await message()).not.toMatch(/leakTimeout/);
      await manual.advance(200);
      expect(await message()).toMatch(/leakTimeout/);
    });
    await Promise.all(both);
    await shared.close(0);
  });

  test('transactions are not starved by statements that share', async () => {
    let stopped = false;
    const stream = Promise.all(
      Array.from({ length: 40 }, async () => {
        while (!stopped) await KINDS[1]!(++next);
      }),
    );
    for (let i = 0; i < 20; i++) await KINDS[9]!(++next);
    stopped = true;
    await stream;
  });
});
