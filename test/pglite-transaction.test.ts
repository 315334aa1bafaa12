import { getEventListeners } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import type { Session } from '../src/component.js';
import { LocalSession } from '../src/pools/local-session.js';
import { clock, context, gate, ids, insert, pool, query, usePglite } from './support/pglite.js';

usePglite();

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
    await expect(insert(1, new LocalSession(pool, context(), clock))).rejects.toMatchObject({ code: 'VALIDATION' });
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

  test('that is aborted while it begins runs nothing, and frees the connection', async () => {
    const controller = new AbortController();
    let ran = false;
    const cancelled = pool.transaction({ context: context({ signal: controller.signal }) }, async () => {
      ran = true;
    });
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
    expect(ran).toBe(false);
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
