/** How transactions that lost wait for their turn. */
import { expect, test } from '@jest/globals';
import type { Pool } from '../src/pools/pool.js';
import { runInTurn } from '../src/unit-of-work/retry-queue.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { gate } from './support/postgres/fixture.js';

/** Only its identity counts. */
const pool = {} as Pool;
const bounds = { deadline: 60_000 };

test('one runs when the one before it has ended, or took too long', async () => {
  const clock = new ManualClock();
  const first = gate();
  const seen: number[] = [];
  const turns = [
    runInTurn(pool, clock, bounds, () => first.passed),
    runInTurn(pool, clock, bounds, async () => void seen.push(2)),
  ];
  await clock.advance(249);
  expect(seen).toEqual([]);
  await clock.advance(1);
  expect(seen).toEqual([2]);
  first.open();
  turns.push(runInTurn(pool, clock, bounds, async () => void seen.push(3)));
  await Promise.all(turns);
  expect([seen, clock.timers]).toEqual([[2, 3], 0]);
});

test.each(['signal', 'deadline'] as const)('a wait ends by its own %s', async (bound) => {
  const clock = new ManualClock();
  const first = gate();
  const abort = new AbortController();
  const running = runInTurn(pool, clock, bounds, () => first.passed);
  let ran = false;
  const own = bound === 'signal' ? { ...bounds, signal: abort.signal } : { deadline: 100 };
  const waiting = runInTurn(pool, clock, own, async () => void (ran = true));
  await settled();
  expect(ran).toBe(false);
  if (bound === 'signal') abort.abort();
  else await clock.advance(100);
  await waiting;
  expect([ran, clock.timers]).toEqual([true, 0]);
  first.open();
  await running;
});
