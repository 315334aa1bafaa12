/** The one connection: who waits for it, and what its check says meanwhile. */
import { getEventListeners } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { clock, context, gate, ids, insert, occupy, pool, usePglite } from './support/pglite.js';

usePglite();

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

describe('check', () => {
  test('asks the database when it is free', async () => {
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy', details: { idle: 1 } });
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
