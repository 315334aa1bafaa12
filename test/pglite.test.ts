import { getEventListeners } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import type { OperationContext, Session } from '../src/component.js';
import { pglite } from '../src/pools/pglite/index.js';
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
  expect(clock.timers).toBe(0);
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
    const pending = clock.timers;
    const late = pool.query('SELECT 1', [], context({ deadline: clock.monotonic() + 100 }));
    const exhausted = pool.query('SELECT 1', [], context());
    const controller = new AbortController();
    const cancelled = pool.query('SELECT 1', [], context({ signal: controller.signal }));
    const queued = pool.query('SELECT 1 AS one', [], context({ signal: controller.signal }));
    const outcomes = Promise.allSettled([late, exhausted, cancelled, queued]);
    await clock.advance(100);
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT', component: 'main' });
    expect(pool.figures()).toMatchObject({ waiting: 3 });
    controller.abort(new Error('enough'));
    await expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await clock.advance(4_900);
    await expect(exhausted).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true, details: { waited: 5_000 } });
    expect(clock.timers).toBe(pending);
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
    const refused = expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });
    await clock.advance(50);
    await refused;

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

  test('runs no statement whose deadline has passed', async () => {
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

describe('check', () => {
  test('asks the database when it is free', async () => {
    expect(await pool.check(AbortSignal.timeout(1_000))).toMatchObject({ status: 'healthy', details: { idle: 1 } });
  });

  test('reports from the queue when it is not, at once', async () => {
    const held = await occupy();
    const waiting = insert(1).catch((error: unknown) => error);
    await clock.advance(1_000);
    expect(await pool.check(AbortSignal.abort())).toEqual({
      status: 'healthy',
      details: {
        size: 1,
        idle: 0,
        waiting: 1,
        max: 1,
        busyFor: 1_000,
        sinceLastSuccess: expect.any(Number) as unknown,
      },
    });
    await clock.advance(4_000);
    expect(await waiting).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await pool.check(AbortSignal.abort())).toMatchObject({
      status: 'unhealthy',
      message: expect.stringMatching(/busy for 5000 ms/) as unknown,
    });
    await held.end();
  });

  test('calls a long transaction that makes progress degraded', async () => {
    const { passed, open } = gate();
    const begun = gate();
    const done = pool.transaction({ context: context() }, async (session) => {
      await clock.advance(6_000);
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

test('what updates leave behind is used again, and the planner knows the tables', async () => {
  const pool = pglite.create('pglite::memory:', { acquireTimeout: 5_000 }, { clock: systemClock, name: 'busy' });
  await pool.open({ clock: systemClock, signal: new AbortController().signal });
  const context = (): OperationContext => ({ now: new Date(), deadline: performance.now() + 60_000 });
  await pool.script('CREATE TABLE busy (id integer PRIMARY KEY, n integer, filler text)', context());
  await pool.query("INSERT INTO busy SELECT i, 0, repeat('x', 500) FROM generate_series(1, 1000) AS i", [], context());
  const size = async (): Promise<number> => {
    const { rows } = await pool.query("SELECT pg_relation_size('busy')::float8 AS size", [], context());
    return rows[0]!['size'] as number;
  };
  const first = await size();
  for (let i = 0; i < 40; i++) {
    await pool.query('UPDATE busy SET n = n + 1', [], context());
    // The connection's free moment.
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await size()).toBeLessThan(first * 25);
  const { rows } = await pool.query(
    "SELECT reltuples::float8 AS rows FROM pg_class WHERE relname = 'busy'",
    [],
    context(),
  );
  expect(rows[0]!['rows']).toBe(1_000);
  await pool.close(performance.now() + 5_000);
});
