/** The time of a call whose schema answers later: one for both. */
import { expect, test } from '@jest/globals';
import { defineCollection } from '../src/index.js';
import { Collection } from '../src/collection/collection.js';
import type { CallOptions } from '../src/component.js';
import { memory as memoryBackend } from '../src/backends/memory.js';
import { memory as memoryPool } from '../src/pools/memory.js';
import { ManualClock } from './support/manual-clock.js';

const CALLS: [string, (collection: Collection<unknown>) => Promise<unknown>][] = [
  ['save', (collection) => collection.save({}, { id: 'a', timeout: 1_000 })],
  ['insert', (collection) => collection.insert({}, { id: 'a', timeout: 1_000 })],
  ['saveMany', (collection) => collection.saveMany([{ id: 'a', value: {} }], { timeout: 1_000 })],
  ['patch', (collection) => collection.patch('a', { set: { n: 1 } }, { orInsert: {}, timeout: 1_000 })],
  ['increment', (collection) => collection.increment('a', 'n', 1, { orInsert: {}, timeout: 1_000 })],
];

test.each(CALLS)('%s has for its write what its schema has left of the timeout', async (_name, call) => {
  const clock = new ManualClock();
  const pool = memoryPool.create('memory:', { seed: null }, { clock, name: 'memory' });
  await pool.open();
  const backend = memoryBackend.create(pool, 'records:memory');
  let answer!: () => void;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const validate = async (value: unknown): Promise<{ value: object }> => {
    await answered;
    return { value: value as object };
  };
  const schema = { '~standard': { version: 1, vendor: 'test', validate } } as const;
  const deadlines: number[] = [];
  const collection = new Collection(defineCollection({ name: 'later', id: 'given', schema }), {
    backend,
    tenant: 't',
    clock,
    begin: (_operation: string, options: CallOptions = {}) => {
      const deadline = clock.monotonic() + options.timeout!;
      deadlines.push(deadline);
      return { context: { now: clock.now(), deadline }, end: () => undefined };
    },
    ensure: (schemas, context) => backend.ensure(schemas, context),
  });
  const calling = call(collection);
  await clock.advance(900);
  answer();
  await calling;
  expect(deadlines).toEqual([1_000, 1_000]);
  await pool.close();
});
