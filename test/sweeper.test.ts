import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { memory as backends } from '../src/backends/memory.js';
import type { RecordBackend, RecordSchema } from '../src/backends/backend.js';
import { StorageError } from '../src/errors.js';
import { memory as pools, type MemoryPool } from '../src/pools/memory.js';
import { Sweeper } from '../src/sweeper.js';
import { ManualClock } from './support/manual-clock.js';

const NOTES: RecordSchema = { name: 'notes', fields: new Map(), indexes: [], unique: [], text: [] };
const MINUTE = 60_000;

let clock: ManualClock;
let pool: MemoryPool;
let backend: RecordBackend;
let sweeper: Sweeper;

beforeEach(async () => {
  clock = new ManualClock();
  pool = pools.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
  backend = backends.create(pool, 'records:main');
  sweeper = new Sweeper({ name: 'sweeper:main', backend, collections: () => [NOTES], clock, interval: MINUTE });
});
afterEach(async () => {
  await sweeper.close(clock.monotonic());
  expect(clock.timers).toBe(0);
});

const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 1_000 });
async function insert(count: number, tenant: string, ttl?: number): Promise<void> {
  const expiresAt = ttl === undefined ? {} : { expiresAt: new Date(clock.now().getTime() + ttl) };
  const writes = Array.from({ length: count }, (_, i) => ({
    kind: 'insert' as const,
    collection: NOTES,
    id: `${ttl}-${i}`,
    value: {},
    ...expiresAt,
  }));
  await backend.write({ tenant }, writes, context());
}
/** How many expired records still take room: what a sweep of everything deletes. */
const left = (): Promise<number> => backend.sweep(NOTES, new Date(8.64e15), 10_000, context());

test('what expired a minute ago is deleted, of every tenant, and nothing else', async () => {
  await insert(1_500, 'a', 1_000);
  await insert(3, 'b', 1_000);
  await insert(2, 'b', 10 * MINUTE);
  await insert(4, 'b');
  await sweeper.open();
  await clock.advance(2.4 * MINUTE);
  expect(await sweeper.check()).toEqual({ status: 'healthy', details: { swept: 1_503 } });
  expect(await left()).toBe(2);
  expect(await backend.count({ tenant: 'b' }, { collection: NOTES, filter: { op: 'and', nodes: [] } }, context())).toBe(
    4,
  );
});

test('a sweep that fails is told, and tried again', async () => {
  await insert(1, 'a', 1);
  await sweeper.open();
  await pool.close();
  await clock.advance(1.2 * MINUTE);
  expect(await sweeper.check()).toMatchObject({ status: 'degraded', message: expect.stringContaining('CLOSED') });
  await pool.open();
  await clock.advance(2.4 * MINUTE);
  expect(await sweeper.check()).toEqual({ status: 'healthy', details: { swept: 1 } });
});

test('a collection that fails keeps no other from being swept, and is told', async () => {
  const refused: RecordSchema = {
    ...NOTES,
    name: 'refused',
    sweep: () => Promise.reject(new StorageError('TIMEOUT', 'too many to find in time')),
  };
  const both = new Sweeper({
    name: 'sweeper:main',
    backend,
    collections: () => [refused, NOTES],
    clock,
    interval: MINUTE,
  });
  await insert(3, 'a', 1);
  await both.open();
  await clock.advance(2.4 * MINUTE);
  expect(await both.check()).toMatchObject({
    status: 'degraded',
    message: expect.stringContaining('TIMEOUT'),
    details: { swept: 3 },
  });
  await both.close(clock.monotonic());
});

test('an interval of 0 sweeps never; a closed sweeper has no timer', async () => {
  const never = new Sweeper({ name: 'sweeper:main', backend, collections: () => [NOTES], clock, interval: 0 });
  await never.open();
  expect(clock.timers).toBe(0);
  await sweeper.open();
  expect(clock.timers).toBe(1);
});
