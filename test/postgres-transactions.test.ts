import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Session } from '../src/component.js';
import { isSerializationFailure } from '../src/errors.js';
import type { SqlPool } from '../src/pools/pool.js';
import { backendPid, context, describeServer, Fixture, gate, rowsOf, until } from './support/postgres/fixture.js';
import { Proxy } from './support/proxy.js';

let fixture: Fixture;
let proxy: Proxy;
let pool: SqlPool;

const insert = (id: number, session?: Session) =>
  pool.query('INSERT INTO item VALUES ($1, 0)', [id], context({ session }), { name: 'insert' });
const ids = async () => (await rowsOf(pool, 'SELECT id FROM item ORDER BY id')).map((row) => row['id']);
const open = async () => (pool = await fixture.pool({ pool: { max: 4 } }, fixture.through(proxy.port)));

describeServer('transactions', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    proxy = await Proxy.open(fixture.url);
    await open();
    await pool.script('CREATE TABLE item (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int)', context());
  });
  afterEach(async () => {
    if (pool.figures().max !== 4 || pool.figures().size === 0) await open();
    await pool.script('TRUNCATE item', context());
    // One whose caller has heard of its end may still be undone.
    await until(() => pool.figures().idle === pool.figures().size);
    expect(pool.figures().waiting).toBe(0);
  });
  afterAll(async () => {
    await fixture.close();
    await proxy.close();
  });

  test('BEGIN travels with the first statement: one write is two round trips, no statement is none', async () => {
    await pool.transaction({ context: context() }, (session) => insert(1, session));
    const trips = async (work: (session: Session) => Promise<unknown>) => {
      const before = proxy.roundTrips;
      await pool.transaction({ context: context() }, work);
      return proxy.roundTrips - before;
    };
    expect(await trips((session) => insert(2, session))).toBe(2);
    expect(await trips(() => Promise.resolve())).toBe(0);
    expect(
      await trips((session) => pool.script('UPDATE item SET n = 1; UPDATE item SET n = 2', context({ session }))),
    ).toBe(2);
    const before = proxy.roundTrips;
    await insert(3);
    expect(proxy.roundTrips - before).toBe(1);
    expect(await rowsOf(pool, 'SELECT id, n FROM item ORDER BY id')).toEqual([
      { id: 1, n: 2 },
      { id: 2, n: 2 },
      { id: 3, n: 0 },
    ]);
  });

  test.each([
    ['serializable', 'serializable'],
    ['snapshot', 'repeatable read'],
  ] as const)('the isolation %s is %s on the server', async (isolation, level) => {
    await pool.transaction({ isolation, context: context() }, async (session) => {
      expect(await rowsOf(pool, 'SHOW transaction_isolation', session)).toEqual([{ transaction_isolation: level }]);
    });
  });

  test('an error undoes everything and leaves the connection usable', async () => {
    const pid = await backendPid(pool);
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await insert(1, session);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await ids()).toEqual([]);
    expect(await backendPid(pool)).toBe(pid);
  });

  test('a failed statement fails the transaction, even when the function goes on; the first error is told', async () => {
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await pool.query('SELECT 1/0', [], context({ session })).catch(() => undefined);
        await expect(insert(1, session)).rejects.toMatchObject({ details: { sqlstate: '22012' } });
      }),
    ).rejects.toMatchObject({ code: 'INTERNAL', details: { sqlstate: '22012' } });
    expect(await ids()).toEqual([]);
  });

  test('a failure that only COMMIT finds is the error of the transaction', async () => {
    await insert(1);
    await expect(pool.transaction({ context: context() }, (session) => insert(1, session))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
  });

  test('a COMMIT that the server answers with ROLLBACK is a failure', async () => {
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await insert(1, session);
        // Out of the session's sight, as a function of the host could do it.
        await pool.script('DO $$ BEGIN NULL; END $$; ROLLBACK; BEGIN; SELECT 1/0', context({ session })).catch(() => {
          session.failure = undefined;
        });
      }),
    ).rejects.toMatchObject({ code: 'INTERNAL', message: 'The database rolled the transaction back' });
    expect(await ids()).toEqual([]);
  });

  test('session.failure rolls back and is thrown', async () => {
    const failure = Object.assign(new Error('broken'), { code: 'CONFLICT' });
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        await insert(1, session);
        session.failure = failure as never;
      }),
    ).rejects.toBe(failure);
    expect(await ids()).toEqual([]);
  });

  test('statements at once in one transaction run one after the other, in order', async () => {
    await pool.transaction({ context: context() }, async (session) => {
      const all = await Promise.all([1, 2, 3, 4].map((id) => insert(id, session)));
      expect(all.map(({ affected }) => affected)).toEqual([1, 1, 1, 1]);
    });
    expect(await ids()).toEqual([1, 2, 3, 4]);
  });

  test('statements that are not awaited are waited for, or refused after the end', async () => {
    let late: Promise<unknown> = Promise.resolve();
    let kept: Session | undefined;
    await pool.transaction({ context: context() }, async (session) => {
      kept = session;
      void insert(1, session);
      void insert(2, session);
      late = rowsOf(pool, 'SELECT pg_sleep(0.05)', session);
    });
    await late;
    expect(await ids()).toEqual([1, 2]);
    await expect(insert(3, kept)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  describe('behind a statement that waits for a lock', () => {
    let holder: SqlPool;
    const LOCK = 'SELECT pg_advisory_xact_lock(7) -- waits';
    const isWaiting = async () =>
      (
        await rowsOf(
          holder,
          "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%-- waits' AND wait_event = 'advisory'",
        )
      ).length > 0;
    /** Runs `work` while another session has the lock. */
    const withLock = async <R>(work: () => Promise<R>): Promise<R> => {
      holder = await fixture.pool({ pool: { max: 2 } });
      return holder.transaction({ context: context() }, async (session) => {
        await rowsOf(holder, 'SELECT pg_advisory_xact_lock(7)', session);
        return work();
      });
    };

    test('an operation of the same transaction hears its deadline and its signal, and the transaction goes on', async () => {
      let first: Promise<unknown> | undefined;
      const { passed, open: goOn } = gate();
      const done = await withLock(async () => {
        const { passed: told, open: tell } = gate();
        const transaction = pool.transaction({ context: context() }, async (session) => {
          first = rowsOf(pool, LOCK, session);
          const late = pool.query('INSERT INTO item VALUES (1, 0)', [], context({ session, timeout: 50 }));
          const controller = new AbortController();
          const { signal } = controller;
          const leaving = pool.query('INSERT INTO item VALUES (2, 0)', [], context({ session, signal }));
          const third = insert(3, session);
          await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });
          controller.abort();
          await expect(leaving).rejects.toMatchObject({ code: 'ABORTED' });
          await until(isWaiting);
          tell();
          await passed;
          await Promise.all([first, third, insert(4, session)]);
        });
        await Promise.race([told, transaction]);
        return { transaction };
      });
      goOn();
      await done.transaction;
      expect(await ids()).toEqual([3, 4]);
    });

    test('a transaction whose function has failed does not wait for it: it is stopped on the server', async () => {
      await withLock(async () => {
        const started = performance.now();
        const own = new Error('of the function');
        let sibling: Promise<unknown> | undefined;
        const failing = pool.transaction({ context: context() }, async (session) => {
          await insert(1, session);
          sibling = rowsOf(pool, LOCK, session).catch((error: unknown) => error);
          await until(isWaiting);
          throw own;
        });
        await expect(failing).rejects.toBe(own);
        expect(performance.now() - started).toBeLessThan(30_000);
        expect(await sibling).toMatchObject({ code: 'CLOSED' });
        await until(async () => !(await isWaiting()));
      });
      expect(await ids()).toEqual([]);
    });
  });

  test('a function that hangs is ended at the deadline, and by the signal', async () => {
    const never = new Promise<never>(() => undefined);
    const hang = async (session: Session) => {
      await insert(1, session);
      await never;
    };
    const started = performance.now();
    await expect(pool.transaction({ context: context({ timeout: 100 }) }, hang)).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    expect(performance.now() - started).toBeLessThan(20_000);
    const controller = new AbortController();
    const aborted = pool.transaction({ context: context({ signal: controller.signal }) }, hang);
    setTimeout(() => controller.abort(), 30);
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    // Its lock is gone with it.
    await insert(1);
    expect(await ids()).toEqual([1]);
  });

  test('a statement that runs at the deadline of the transaction is stopped on the server', async () => {
    let pid = 0;
    await expect(
      pool.transaction({ context: context({ timeout: 150 }) }, async (session) => {
        pid = await backendPid(pool, session);
        await rowsOf(pool, 'SELECT pg_sleep(30)', session);
      }),
    ).rejects.toMatchObject({ code: 'TIMEOUT' });
    await until(async () => (await rowsOf(pool, `SELECT 1 FROM pg_stat_activity WHERE pid = ${pid}`)).length === 0);
  });

  test('a commit that the server is at is ended by the signal: nobody knows what became of it', async () => {
    await pool.script(
      `CREATE TABLE slow (id int);
       CREATE FUNCTION sleep_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
       CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sleep_on()`,
      context(),
    );
    const controller = new AbortController();
    const committing = pool.transaction({ context: context({ signal: controller.signal }) }, (session) =>
      rowsOf(pool, 'INSERT INTO slow VALUES (1) RETURNING id', session),
    );
    const busy = `SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' AND datname = current_database()`;
    await until(async () => (await rowsOf(pool, busy)).length === 1);
    controller.abort();
    await expect(committing).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await until(async () => (await rowsOf(pool, busy)).length === 0);
    expect(await rowsOf(pool, 'SELECT id FROM slow')).toEqual([]);
  });

  test('two that read what the other writes: one fails with a serialization failure, run again it succeeds', async () => {
    await Promise.all([insert(1), insert(2)]);
    const [first, second] = [gate(), gate()];
    const skew = (read: number, write: number, mine: () => void, other: Promise<void>) =>
      pool.transaction({ context: context() }, async (session) => {
        await pool.query('SELECT n FROM item WHERE id = $1', [read], context({ session }));
        mine();
        await other;
        await pool.query('UPDATE item SET n = n + 1 WHERE id = $1', [write], context({ session }));
      });
    const outcomes = await Promise.allSettled([
      skew(1, 2, first.open, second.passed),
      skew(2, 1, second.open, first.passed),
    ]);
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failed).toHaveLength(1);
    expect(isSerializationFailure(failed[0]!.reason)).toBe(true);
    await skew(1, 2, () => undefined, Promise.resolve());
  });

  test('control statements are refused, and leave no open transaction to the next', async () => {
    await expect(pool.query('BEGIN', [], context())).rejects.toMatchObject({ code: 'VALIDATION' });
    await expect(
      pool.transaction({ context: context() }, (session) => pool.script('COMMIT', context({ session }))),
    ).rejects.toMatchObject({ code: 'VALIDATION' });
    await until(() => pool.figures().idle === pool.figures().size);
    for (let i = 0; i < 4; i++)
      await expect(rowsOf(pool, 'SAVEPOINT outside')).rejects.toMatchObject({ details: { sqlstate: '25P01' } });
  });

  test('a session of another pool is refused', async () => {
    const other = await fixture.pool();
    await other.transaction({ context: context() }, async (session) => {
      await expect(insert(1, session)).rejects.toMatchObject({ code: 'VALIDATION' });
    });
    await other.close(0);
  });

  test('a COMMIT whose reply is lost: OUTCOME_UNKNOWN, and the row is there', async () => {
    proxy.loseAnswerTo((sent) => sent.includes('COMMIT'));
    await expect(pool.transaction({ context: context() }, (session) => insert(1, session))).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      retryable: false,
    });
    expect(await ids()).toEqual([1]);
  });

  test('so with a write by itself; a read may be repeated, and a transaction before its COMMIT too', async () => {
    proxy.loseAnswerTo((sent) => sent.includes('-- lost'));
    await expect(pool.query('INSERT INTO item VALUES (1, 0) -- lost', [], context())).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
    });
    proxy.loseAnswerTo((sent) => sent.includes('-- lost'));
    await expect(rowsOf(pool, 'SELECT 1 -- lost')).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    for (const text of [
      `SELECT 'it''s', 'update' AS "delete", E'\\'into', $tag$ merge '$tag$ -- lost`,
      "WITH a AS (SELECT 1) SELECT 'insert' FROM a WHERE 'x' <> $$'$$ -- lost",
    ]) {
      proxy.loseAnswerTo((sent) => sent.includes('-- lost'));
      await expect(rowsOf(pool, text)).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    }
    for (const text of [
      "WITH a AS (SELECT 1) -- it's\n INSERT INTO item VALUES (2, length('')) -- lost",
      "WITH a AS (SELECT E'\\'') INSERT INTO item VALUES (3, length('')) -- lost",
      "WITH a AS (SELECT 1) /* it's */ INSERT INTO item VALUES (4, length('')) -- lost",
      "WITH a AS (SELECT '\\') INSERT INTO item VALUES (5, length('')) -- lost",
    ]) {
      proxy.loseAnswerTo((sent) => sent.includes('-- lost'));
      await expect(rowsOf(pool, text)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    }
    proxy.loseAnswerTo((sent) => sent.includes('-- lost'));
    await expect(
      pool.transaction({ context: context() }, (session) => rowsOf(pool, 'DELETE FROM item -- lost', session)),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(await ids()).toEqual([1, 2, 3, 4, 5]);
  });
});
