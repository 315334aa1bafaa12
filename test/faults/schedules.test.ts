/** Units of work that run at the same time in the memory engine: whatever their course, it is that of some serial order. */
import { expect, test } from '@jest/globals';
import type { Session } from '../../src/component.js';
import type { MemoryPool } from '../../src/pools/memory.js';
import { seedOf, wholeNumber } from './environment.js';
import { describeExploration, explore } from './schedules/explore.js';
import { runSchedule } from './schedules/run.js';
import { drawSchedule, INITIAL, type Operation, type Unit } from './schedules/schedule.js';
import { serialOrder } from './schedules/serial.js';

const seed = seedOf();

/** The isolation `snapshot`: only what two units both wrote is a conflict, and not what one of them read. */
function forgetReads(pool: MemoryPool): void {
  const transaction = pool.transaction.bind(pool);
  pool.transaction = (options, work) =>
    transaction(options, async (session) => {
      const result = await work(session);
      const { work: done } = session as Session & { work: { reads: Set<string>; scans: unknown[] } };
      done.reads.clear();
      done.scans.length = 0;
      return result;
    });
}

const unit = (name: string, ...operations: Operation[]): Unit => ({
  name,
  operations,
  pauses: operations.map(() => 0).concat(0),
  ending: 'commit',
  bare: false,
});
const read = (id: string): Operation => ({ kind: 'read', id });
const increment = (id: string): Operation => ({ kind: 'increment', id });

test('every schedule ends as some serial order of its committed units would', async () => {
  const found = await explore(seed, wholeNumber('FAULT_SCHEDULES', 1_000));
  console.log(`${describeExploration(found)} (FAULT_SEED=${found.unserializable[0] ?? seed})`);
  expect(found.unserializable).toEqual([]);
  expect(found.committed).toBeGreaterThan(found.schedules);
});

test('a schedule takes the same course each time its seed is given', async () => {
  for (let i = 0; i < 20; i++)
    expect(await runSchedule(drawSchedule(seed + i))).toEqual(await runSchedule(drawSchedule(seed + i)));
});

test('with reads forgotten, as under the isolation of snapshots, a write skew is found', async () => {
  const found = await explore(1, 200, forgetReads);
  expect(found.unserializable.length).toBeGreaterThan(0);
  const skew = { seed: 1, units: [unit('u0', read('a'), increment('b')), unit('u1', read('b'), increment('a'))] };
  expect(serialOrder(await runSchedule(skew, forgetReads))).toBeUndefined();
  expect(serialOrder(await runSchedule(skew))).toBeDefined();
});

test('what no serial order gives is told from what one gives', () => {
  const one = unit('u0', read('a'), increment('a'));
  const other = unit('u1', read('a'), increment('a'));
  const final = (a: number) => new Map([...INITIAL, ['a', a]]);
  const history = (seen: number, a: number) => ({
    committed: [
      { unit: one, seen: [seen, seen + 1] },
      { unit: other, seen: [10, 11] },
    ],
    final: final(a),
  });
  expect(serialOrder(history(11, 12))).toEqual(['u1', 'u0']);
  // A lost update, and an end that nobody wrote.
  expect(serialOrder(history(10, 11))).toBeUndefined();
  expect(serialOrder(history(11, 13))).toBeUndefined();
});
