/** What `getOrSet` computes for callers whose reads are slow. */
import { expect, test } from '@jest/globals';
import { sleep, systemClock } from '../../src/clock.js';
import { openStorage } from '../../src/index.js';
import { databaseOf } from '../support/open-parts.js';
import { gate } from '../support/postgres/fixture.js';

test('who looked before another had set the value finds it in place of computing it again, and nobody else looks twice', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { kv } = storage;
  await kv.set('n', 'other', 1);
  const { backend } = databaseOf(storage);
  const read = backend.read.bind(backend);
  let reads = 0;
  const { passed, open } = gate();
  let first = true;
  backend.read = async (...of) => {
    reads++;
    const isFirst = first;
    first = false;
    const found = await read(...of);
    if (isFirst) await passed;
    return found;
  };
  let computed = 0;
  const compute = (): number => ++computed;
  const slow = kv.getOrSet('n', 'k', compute);
  expect(await kv.getOrSet('n', 'k', compute)).toMatchObject({ value: 1 });
  open();
  expect(await slow).toMatchObject({ value: 1 });
  expect(computed).toBe(1);
  reads = 0;
  await kv.getOrSet('n', 'one', compute);
  const usual = reads;
  reads = 0;
  await kv.setIfAbsent('n', 'two', 2);
  // One look, and what the writing reads.
  expect(usual).toBe(reads + 1);
});

test('in a transaction the writing has what the look and the computation have left of the timeout', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  await storage.kv.set('n', 'other', 1);
  const { backend } = databaseOf(storage);
  const read = backend.read.bind(backend);
  const deadlines: number[] = [];
  backend.read = (scope, keys, context) => {
    deadlines.push(context.deadline);
    return read(scope, keys, context);
  };
  const compute = (): Promise<number> => sleep(systemClock, 500).then(() => 5);
  const written = await storage.transaction(({ kv }) => kv.getOrSet('n', 'k', compute, { timeout: 20_000 }));
  expect(written).toMatchObject({ value: 5 });
  const [look, writing] = deadlines;
  expect(deadlines).toHaveLength(2);
  expect(writing! - look!).toBeLessThan(250);
});
