/** A database in this process answers at once; what reads or deletes many records lets others in all the same. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';

const Items = defineCollection<{ n: number }, 'n'>({ name: 'items', fields: { n: 'number' } });

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'sqlite::memory:', other: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

/** How often the loop of events came round while `work` ran. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let timer = setImmediate(function turn() {
    turns++;
    timer = setImmediate(turn);
  });
  try {
    await work();
    return turns;
  } finally {
    clearImmediate(timer);
  }
}

test.each(['main', 'other'])('a long read and a long deletion in %s', async (on) => {
  const items = storage.collection(Items, { on });
  await items.load(Array.from({ length: 4_000 }, (_, n) => ({ value: { n } })));
  let read = 0;
  const reading = await turnsDuring(async () => {
    for await (const { value } of items.each({}, { sort: { n: 'asc' } })) read += value.n < 0 ? 0 : 1;
  });
  expect(read).toBe(4_000);
  expect(reading).toBeGreaterThanOrEqual(19);
  expect(await turnsDuring(() => items.deleteWhere({ n: { $gte: 0 } }))).toBeGreaterThanOrEqual(4);
  expect(await items.count()).toBe(0);
});
