/** How the tables of collections come to be: once, whoever asks, and nobody pays for another one's deadline. */
import { beforeEach, expect, test } from '@jest/globals';
import { defineCollection } from '../src/collection/definition.js';
import type { OperationContext } from '../src/component.js';
import type { RecordBackend, RecordSchema } from '../src/backends/backend.js';
import { memory as memoryBackend } from '../src/backends/memory.js';
import { Tables } from '../src/database/tables.js';
import { StorageError } from '../src/errors.js';
import { memory as memoryPool } from '../src/pools/memory.js';
import { ManualClock } from './support/manual-clock.js';

const { schema } = defineCollection<{ n: number }>({ name: 'items', fields: { n: 'number' } });
let clock: ManualClock;
let tables: Tables;
let backend: RecordBackend;
let asked: OperationContext[];
let patience: (number | undefined)[];
let finish: (error?: Error) => void;

beforeEach(() => {
  clock = new ManualClock();
  tables = new Tables(clock, { operationTimeout: 30_000, schemaTimeout: 90_000 });
  asked = [];
  patience = [];
  const pool = memoryPool.create('memory:', { seed: null }, { clock, name: 'main' });
  const ensure = (_schemas: readonly RecordSchema[], context: OperationContext, until?: number): Promise<void> => {
    asked.push(context);
    patience.push(until);
    return new Promise((resolve, reject) => {
      finish = (error) => (error === undefined ? resolve() : reject(error));
    });
  };
  backend = Object.create(memoryBackend.create(pool, 'records:main'), { ensure: { value: ensure } }) as RecordBackend;
});

const make = (more: Partial<OperationContext> = {}): Promise<void> =>
  tables.make([schema], backend, { now: clock.now(), deadline: clock.monotonic() + 60_000, ...more });

test('a first caller whose time is short fails alone; the others get their tables', async () => {
  const short = make({ deadline: clock.monotonic() + 5 });
  const patient = make();
  const refused = expect(short).rejects.toMatchObject({ code: 'TIMEOUT' });
  await clock.advance(5);
  await refused;
  expect(asked).toHaveLength(1);
  expect(asked[0]).toMatchObject({ deadline: 30_000 });
  expect(patience).toEqual([90_000]);
  finish();
  await patient;
  expect(tables.has([schema])).toBe(true);
  expect(clock.timers).toBe(0);
});

test("a caller's signal ends its own wait only", async () => {
  const controller = new AbortController();
  const cancelled = make({ signal: controller.signal });
  const patient = make();
  const refused = expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
  controller.abort();
  await refused;
  expect(asked[0]!.signal).toBeUndefined();
  finish();
  await patient;
  expect(clock.timers).toBe(0);
});

test('a failure reaches who waits, is not remembered, and harms nobody when no one waits any more', async () => {
  const waiting = make();
  const short = make({ deadline: clock.monotonic() + 5 });
  const outcomes = Promise.allSettled([waiting, short]);
  await clock.advance(5);
  finish(new Error('no room'));
  await outcomes;
  await expect(waiting).rejects.toThrow('no room');
  await expect(short).rejects.toMatchObject({ code: 'TIMEOUT' });
  const again = make();
  await clock.advance(0);
  finish();
  await again;
  expect(asked).toHaveLength(2);
});

test('a refused declaration is not tried again for five seconds', async () => {
  const first = make();
  await clock.advance(0);
  finish(new StorageError('MIGRATION', 'They do not fit'));
  await expect(first).rejects.toMatchObject({ code: 'MIGRATION' });
  await clock.advance(4_999);
  await expect(make()).rejects.toMatchObject({ code: 'MIGRATION' });
  expect(asked).toHaveLength(1);
  await clock.advance(1);
  const mended = make();
  await clock.advance(0);
  finish();
  await mended;
  expect(asked).toHaveLength(2);
});

test('one name stands for one form of ids', () => {
  const declare = (id: 'uuid' | 'given' | 'sequence') => () =>
    tables.declare(defineCollection({ name: 'kinds', id }).schema, 'main');
  declare('uuid')();
  declare('given')();
  expect(declare('sequence')).toThrow('declared twice, with other id, ');
});
