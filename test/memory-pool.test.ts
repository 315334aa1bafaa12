/** The bounds of transactions on the memory engine: deadline, signal, close. */
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { OperationContext, Session } from '../src/component.js';
import { memory, type MemoryPool } from '../src/pools/memory.js';
import { ManualClock } from './support/manual-clock.js';

const clock = new ManualClock();
const context = (more: Partial<OperationContext> = {}): OperationContext => ({
  now: clock.now(),
  deadline: clock.monotonic() + 60_000,
  ...more,
});
const hang = new Promise<never>(() => undefined);

let pool: MemoryPool;
beforeEach(async () => {
  pool = memory.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
});
afterEach(async () => {
  expect(pool.figures().size).toBe(0);
  expect(clock.timers).toBe(0);
  await pool.close();
});

const put = (n: number, session?: Session) =>
  pool.run(context({ session }), (view) => view.put('item', 't', 'a', { n }));
const read = () => pool.run(context(), (view) => view.get('item', 't', 'a'));

test('a transaction that hangs ends at its deadline, and its session takes nothing more', async () => {
  let kept: Session | undefined;
  const late = pool.transaction({ context: context({ deadline: clock.monotonic() + 50 }) }, async (session) => {
    kept = session;
    await put(1, session);
    await hang;
  });
  const refused = expect(late).rejects.toMatchObject({ code: 'TIMEOUT', component: 'main' });
  await clock.advance(49);
  expect(pool.figures().size).toBe(1);
  await clock.advance(1);
  await refused;
  await expect(put(2, kept)).rejects.toMatchObject({ code: 'TIMEOUT' });
  expect(await read()).toBeUndefined();
});

test('a transaction that hangs ends by its signal, and leaves no listener', async () => {
  const controller = new AbortController();
  const cancelled = pool.transaction({ context: context({ signal: controller.signal }) }, async (session) => {
    await put(1, session);
    await hang;
  });
  const refused = expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
  await clock.advance(0);
  controller.abort();
  await refused;
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  expect(await read()).toBeUndefined();
});

test('a transaction whose signal aborts as its work ends is not committed', async () => {
  const seeded = memory.create('memory:', { seed: 1 }, { clock, name: 'seeded' });
  await seeded.open();
  for (let round = 0; round < 20; round++) {
    const controller = new AbortController();
    const work = seeded.transaction({ context: context({ signal: controller.signal }) }, async (session) => {
      await seeded.run(context({ session }), (view) => view.put('item', 't', `${round}`, { n: 1 }));
      controller.abort();
    });
    await expect(work).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await seeded.run(context(), (view) => view.get('item', 't', `${round}`))).toBeUndefined();
  }
  await seeded.close();
});

test('a close ends the transactions that run', async () => {
  const hung = pool.transaction({ context: context() }, () => hang);
  const refused = expect(hung).rejects.toMatchObject({ code: 'CLOSED' });
  await clock.advance(0);
  await pool.close();
  await refused;
});

test('an operation of a transaction is bound by its own deadline too', async () => {
  await pool.transaction({ context: context() }, async (session) => {
    const late = context({ session, deadline: clock.monotonic() });
    await expect(pool.run(late, () => undefined)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await put(1, session);
  });
  expect(await read()).toEqual({ n: 1 });
});
