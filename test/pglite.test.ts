import { getEventListeners } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { OperationContext, Session } from '../src/component.js';
import { pglite } from '../src/pools/pglite.js';
import type { SqlPool, SqlValue } from '../src/pools/pool.js';
import { ManualClock } from './support/manual-clock.js';

const clock = new ManualClock();
const openContext = () => ({ clock, signal: new AbortController().signal });
const context = (more: Partial<OperationContext> = {}): OperationContext => ({
  now: clock.now(),
  deadline: clock.monotonic() + 60_000,
  ...more,
});

let pool: SqlPool;
beforeAll(async () => {
  pool = pglite.create('pglite::memory:', { acquireTimeout: 5_000 }, { clock, name: 'main' });
  await pool.open(openContext());
  await pool.script('CREATE TABLE item (id int PRIMARY KEY, body jsonb)', context());
});
afterEach(async () => {
  expect(pool.figures()).toEqual({ size: 1, idle: 1, waiting: 0, max: 1 });
  expect(clock.pending).toBe(0);
  await pool.query('DELETE FROM item', [], context());
});
afterAll(() => pool.close(clock.monotonic() + 1_000));

const query = async (text: string, ...parameters: SqlValue[]) => (await pool.query(text, parameters, context())).rows;
const insert = (id: number, session?: Session) =>
  pool.query('INSERT INTO item (id) VALUES ($1)', [id], context({ session }));
const ids = async () => (await query('SELECT id FROM item ORDER BY id')).map((row) => row['id']);

/** A promise that a test settles. */
function gate() {
  let open!: () => void;
  return { passed: new Promise<void>((resolve) => (open = resolve)), open };
}

/** A transaction that has the connection until `end` is called. */
async function occupy(more: Partial<OperationContext> = {}) {
  const { passed, open } = gate();
  const begun = gate();
  const done = pool.transaction({ context: context(more) }, async () => {
    begun.open();
    await passed;
  });
  await begun.passed;
  return {
    done,
    end: () => {
      open();
      return done;
    },
  };
}

const text = fc
  .oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...'\\"\'{},N UL ntrue\n\té😀\uffff') }))
  .map((value) => value.replaceAll('\0', ''));
const awkward = fc.oneof(text, fc.constantFrom('', 'null', 'NULL', '{}', '"', '\\', '\\"', ' ', ',', 'a,b', '{"a"}'));

describe('values', () => {
  test('texts and arrays of text come back as they were', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.option(awkward), { maxLength: 8 }), awkward, async (many, one) => {
        const [row] = await query('SELECT $1::text[] AS many, $2::text AS one', many, one);
        expect(row).toEqual({ many, one });
      }),
      { numRuns: 300 },
    ));

  test('a JSON text arrives as that JSON, in jsonb, json and jsonb[]', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (values) => {
        const clean = JSON.parse(JSON.stringify(values).replaceAll('\\u0000', '').replaceAll('-0', '0')) as unknown[];
        const texts = clean.map((value) => JSON.stringify(value));
        const rows = await query(
          'SELECT v AS value, jsonb_typeof(v) AS type FROM unnest($1::jsonb[]) WITH ORDINALITY AS u (v, n) ORDER BY n',
          texts,
        );
        expect(rows.map((row) => row['value'])).toEqual(clean);
        const [whole] = await query('SELECT $1::jsonb AS b, $1::json AS j', JSON.stringify(clean));
        expect(whole).toEqual({ b: clean, j: clean });
      }),
      { numRuns: 200 },
    ));

  test.each([
    ['"text"', 'text', 'string'],
    ['"{\\"a\\":1}"', '{"a":1}', 'string'],
    ['5', 5, 'number'],
    ['null', null, 'null'],
    ['true', true, 'boolean'],
  ])('the JSON text %s is not encoded twice', async (json, value, type) => {
    expect(await query('SELECT $1::jsonb AS value, jsonb_typeof($1::jsonb) AS type', json)).toEqual([{ value, type }]);
  });

  test('instants keep their milliseconds in every year PostgreSQL has', () =>
    fc.assert(
      fc.asyncProperty(fc.date({ min: new Date('-004000-01-01T00:00:00Z'), noInvalidDate: true }), async (date) => {
        const rows = await query('SELECT $1::timestamptz(3) AS date, $2::timestamptz[] AS dates', date, [date, null]);
        expect(rows).toEqual([{ date, dates: [date, null] }]);
      }),
      { numRuns: 300 },
    ));

  test('infinite instants are numbers, both ways', async () => {
    const rows = await query(
      "SELECT 'infinity'::timestamptz AS a, $1::timestamptz AS b, $2::text AS c",
      -Infinity,
      'x',
    );
    expect(rows).toEqual([{ a: Infinity, b: -Infinity, c: 'x' }]);
    expect(await query("SELECT $1 > '2024-01-01'::timestamptz AS later", Infinity)).toEqual([{ later: true }]);
  });

  test('numbers, booleans, bytes and nulls', async () => {
    const bytes = new Uint8Array([0, 1, 254, 255]);
    const sql = `SELECT $1::int8 AS i, $2::float8 AS f, $3::bool AS b, $4::bytea AS y, $5::text AS n, $6::bool[] AS bs,
      $7::float8[] AS fs, 9007199254740993::int8 AS large`;
    expect(await query(sql, 2 ** 40, 5e-324, true, bytes, null, [true, false, null], [1e308, -0.5])).toEqual([
      { i: 2 ** 40, f: 5e-324, b: true, y: bytes, n: null, bs: [true, false, null], fs: [1e308, -0.5], large: 2 ** 53 },
    ]);
  });

  test('affected counts what was inserted, updated or deleted', async () => {
    const counts = [];
    for (const statement of [
      'INSERT INTO item SELECT generate_series(1, 5) RETURNING id',
      'UPDATE item SET body = NULL WHERE id > 2',
      'SELECT * FROM item',
      'DELETE FROM item',
    ])
      counts.push((await pool.query(statement, [], context())).affected);
    expect(counts).toEqual([5, 3, 0, 5]);
  });
});

describe('the queue', () => {
  test('lets operations in, in the order they came, after the transaction', async () => {
    const order: number[] = [];
    const held = await occupy();
    const waiting = [1, 2, 3].map((id) => insert(id).then(() => order.push(id)));
    expect(pool.figures()).toMatchObject({ idle: 0, waiting: 3 });
    await held.end();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  test('keeps an operation outside a transaction that is rolled back', async () => {
    const { passed, open } = gate();
    const begun = gate();
    const undone = pool.transaction({ context: context() }, async (session) => {
      await insert(1, session);
      begun.open();
      await passed;
      throw new Error('no');
    });
    await begun.passed;
    const kept = insert(2);
    open();
    await expect(undone).rejects.toThrow('no');
    await kept;
    expect(await ids()).toEqual([2]);
  });

  test('ends a wait at the deadline, at acquireTimeout, and by the signal, and leaves nothing behind', async () => {
    const held = await occupy();
    const pending = clock.pending;
    const late = pool.query('SELECT 1', [], context({ deadline: clock.monotonic() + 100 }));
    const exhausted = pool.query('SELECT 1', [], context());
    const controller = new AbortController();
    const cancelled = pool.query('SELECT 1', [], context({ signal: controller.signal }));
    const queued = pool.query('SELECT 1 AS one', [], context({ signal: controller.signal }));
    const outcomes = Promise.allSettled([late, exhausted, cancelled, queued]);
    clock.advance(100);
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT', component: 'main' });
    expect(pool.figures()).toMatchObject({ waiting: 3 });
    controller.abort(new Error('enough'));
    await expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    clock.advance(4_900);
    await expect(exhausted).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true, details: { waited: 5_000 } });
    expect(clock.pending).toBe(pending);
    await outcomes;
    await held.end();
  });

  test('refuses an operation that may not start at all', async () => {
    await expect(pool.query('SELECT 1', [], context({ deadline: clock.monotonic() }))).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    await expect(pool.query('SELECT 1', [], context({ signal: AbortSignal.abort() }))).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });

  test('removes its listener when the turn comes', async () => {
    const { signal } = new AbortController();
    const held = await occupy();
    const waiting = pool.query('SELECT 1', [], context({ signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await held.end();
    await waiting;
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('a transaction', () => {
  test('commits what its session did, and returns the result', async () => {
    const result = await pool.transaction({ context: context() }, async (session) => {
      await Promise.all([insert(1, session), insert(2, session), insert(3, session)]);
      return 'done';
    });
    expect(result).toBe('done');
    expect(await ids()).toEqual([1, 2, 3]);
  });

  test('rolls back when its function throws, and throws the same error', async () => {
    const fault = Object.assign(new Error('mine'), { code: '23505', severity: 'ERROR' });
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await insert(1, session);
        throw fault;
      }),
    ).rejects.toBe(fault);
    await expect(
      pool.transaction({ context: context() }, () => {
        throw fault;
      }),
    ).rejects.toBe(fault);
    expect(await ids()).toEqual([]);
  });

  test('is refused its commit after a statement failed, with the first error', async () => {
    const seen: unknown[] = [];
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await insert(1, session);
        const outcomes = await Promise.allSettled([insert(1, session), insert(2, session)]);
        await insert(3, session).catch((error: unknown) => seen.push(error));
        for (const outcome of outcomes) if (outcome.status === 'rejected') seen.push(outcome.reason);
      }),
    ).rejects.toMatchObject({ code: 'ALREADY_EXISTS', details: { constraint: 'item_pkey' } });
    expect(seen).toHaveLength(3);
    for (const error of seen) expect(error).toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(await ids()).toEqual([]);
  });

  test('is not committed when a statement that nobody awaited fails', async () => {
    let forgotten: Promise<unknown> | undefined;
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await insert(1, session);
        forgotten = insert(1, session).catch((error: unknown) => error);
      }),
    ).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(await forgotten).toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(await ids()).toEqual([]);
  });

  test('that has ended refuses its session', async () => {
    let kept: Session | undefined;
    await pool.transaction({ context: context() }, async (session) => {
      kept = session;
    });
    await expect(insert(1, kept)).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(pool.script('SELECT 1', context({ session: kept }))).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('refuses a session of another pool', async () => {
    await expect(insert(1, { pool, failure: undefined })).rejects.toMatchObject({ code: 'VALIDATION' });
  });

  test('is ended at its deadline and by its signal while its function hangs, and frees the connection', async () => {
    const hang = new Promise<never>(() => undefined);
    const begun = gate();
    const late = pool.transaction({ context: context({ deadline: clock.monotonic() + 50 }) }, async (session) => {
      await insert(1, session);
      begun.open();
      await hang;
    });
    await begun.passed;
    clock.advance(50);
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });

    const controller = new AbortController();
    let kept: Session | undefined;
    const begunAgain = gate();
    const cancelled = pool.transaction({ context: context({ signal: controller.signal }) }, async (session) => {
      kept = session;
      await insert(1, session);
      begunAgain.open();
      await hang;
    });
    await begunAgain.passed;
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await expect(insert(2, kept)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await ids()).toEqual([]);
  });

  test('checks its own deadline before each statement and before the commit', async () => {
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await pool.query('SELECT 1', [], context({ session, deadline: clock.monotonic() }));
      }),
    ).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  test('is not begun or ended by a statement', async () => {
    await expect(pool.script('BEGIN; INSERT INTO item (id) VALUES (1)', context())).rejects.toMatchObject({
      code: 'VALIDATION',
    });
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await pool.script('COMMIT', context({ session }));
      }),
    ).rejects.toMatchObject({ code: 'VALIDATION' });
    await insert(2);
    expect(await ids()).toEqual([2]);
  });

  test('leaves nothing of DDL that was rolled back, nor of SET LOCAL', async () => {
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await pool.script("CREATE TABLE gone (); SET LOCAL work_mem = '77MB'", context({ session }));
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await query("SELECT to_regclass('gone') AS gone, current_setting('work_mem') <> '77MB' AS reset")).toEqual([
      { gone: null, reset: true },
    ]);
  });
});

describe('errors', () => {
  const raise = (sqlstate: string) => pool.script(`DO $$ BEGIN RAISE SQLSTATE '${sqlstate}'; END $$`, context());

  test.each([
    ['40001', 'CONFLICT', true],
    ['40P01', 'CONFLICT', true],
    ['57014', 'TIMEOUT', true],
    ['53100', 'STORAGE_FULL', false],
    ['53200', 'UNAVAILABLE', true],
    ['08006', 'UNAVAILABLE', true],
    ['57P01', 'UNAVAILABLE', true],
    ['25006', 'UNAVAILABLE', true],
    ['28000', 'UNAUTHORIZED', false],
    ['54000', 'INTERNAL', false],
  ])('SQLSTATE %s is %s', async (sqlstate, code, retryable) => {
    await expect(raise(sqlstate)).rejects.toMatchObject({
      code,
      retryable,
      component: 'main',
      cause: { code: sqlstate },
    });
  });

  test('a fault of data says its SQLSTATE, keeps the cause, and shows no parameter', async () => {
    const error = await query('SELECT $1::jsonb', '{hush').catch((caught: unknown) => caught as Error);
    expect(error).toMatchObject({ code: 'INTERNAL', details: { sqlstate: '22P02' }, cause: { params: undefined } });
    expect((error as Error).message).not.toContain('hush');
    await expect(query('SELECT * FROM nowhere')).rejects.toThrow('relation "nowhere" does not exist');
  });

  test('a parameter that cannot be sent leaves the connection usable', async () => {
    await expect(query('SELECT $1::bytea', 'text')).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

describe('check', () => {
  test('asks the database when it is free', async () => {
    expect(await pool.check(AbortSignal.timeout(1_000))).toMatchObject({ status: 'healthy', details: { idle: 1 } });
  });

  test('reports from the queue when it is not, at once', async () => {
    const held = await occupy();
    const waiting = insert(1).catch((error: unknown) => error);
    clock.advance(1_000);
    expect(await pool.check(AbortSignal.abort())).toEqual({
      status: 'healthy',
      details: { size: 1, idle: 0, waiting: 1, max: 1, busyFor: 1_000, sinceLastSuccess: expect.any(Number) },
    });
    clock.advance(4_000);
    expect(await waiting).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await pool.check(AbortSignal.abort())).toMatchObject({ status: 'unhealthy', message: /busy for 5000 ms/ });
    await held.end();
  });

  test('calls a long transaction that makes progress degraded', async () => {
    const { passed, open } = gate();
    const begun = gate();
    const done = pool.transaction({ context: context() }, async (session) => {
      clock.advance(6_000);
      await insert(1, session);
      begun.open();
      await passed;
    });
    await begun.passed;
    expect(await pool.check(AbortSignal.abort())).toMatchObject({ status: 'degraded' });
    open();
    await done;
  });
});

describe('URLs', () => {
  test.each(['pglite:', 'pglite:a\0b', 'pglite://host/dir', 'pglite::disk:'])('%j is refused', (url) => {
    expect(pglite.checkUrl(url)).toEqual(expect.any(String));
  });

  test.each(['pglite:./dir', 'pglite:/abs/dir', 'pglite:dir', 'pglite::memory:'])('%j is taken', (url) => {
    expect(pglite.checkUrl(url)).toBeUndefined();
  });

  test('a directory has one key however it is written; each database in memory has its own', () => {
    const key = (url: string, name = 'main') => pglite.key(url, {}, name);
    expect(key('pglite:./a/../b')).toBe(key(`pglite:${process.cwd()}/b`, 'other'));
    expect(key('pglite::memory:', 'a')).not.toBe(key('pglite::memory:', 'b'));
    expect(key('pglite::memory:', 'a')).not.toBe(key('pglite:./:memory:a'));
  });
});
