/** Options of what a storage hands out: one that is misspelt would be passed over, and the work done on another database. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type StorageManager, type Transaction } from '../src/index.js';

const Notes = defineCollection<{ n: number }>({ name: 'option_notes', id: 'given' });

let storage: StorageManager;
beforeAll(async () => {
  const databases = { main: 'memory:', other: 'sqlite::memory:' };
  storage = await openStorage({ databases, stores: { default: 'main' } }, { environment: {}, directory: null });
});
afterAll(() => storage.close());

type Handle = StorageManager | Transaction | ReturnType<StorageManager['tenant']>;
const calls: [string, (handle: Handle, options: never) => unknown][] = [
  ['collection', (handle, options) => handle.collection(Notes, options)],
  ['sequences', (handle, options) => handle.sequences(options)],
  ['locks', (handle, options) => handle.locks(options)],
  ['transaction', (handle, options) => handle.transaction(async () => undefined, options)],
];
const refusals: [string, unknown, string][] = [
  ['a misspelt key', { ON: 'other' }, 'options.ON'],
  ['a key of another call', { database: 'other' }, 'options.database'],
  ['null', null, 'options'],
  ['a text', 'other', 'options'],
  ['a database that is null', { on: null }, 'on'],
];

describe.each(calls)('%s', (_name, call) => {
  const errorOf = async (handle: Handle, options: unknown): Promise<unknown> => {
    try {
      await call(handle, options as never);
    } catch (error) {
      return error;
    }
    return undefined;
  };

  test.each(refusals)('refuses %s, naming it', async (_what, options, key) => {
    const refused = { code: 'VALIDATION', details: expect.objectContaining({ key }) as unknown };
    expect(await errorOf(storage, options)).toMatchObject(refused);
    expect(await errorOf(storage.tenant('t'), options)).toMatchObject(refused);
    const inside = await storage.transaction((tx) => errorOf(tx, options), { on: 'other' });
    expect(inside).toMatchObject(refused);
  });

  test('takes a database that is not named, or undefined', async () => {
    for (const options of [undefined, {}, { on: undefined }, { on: 'other' }])
      expect(await errorOf(storage, options)).toBe(undefined);
  });
});

test('a transaction with a misspelt bound does not run', async () => {
  let runs = 0;
  const work = async (): Promise<number> => ++runs;
  for (const options of [{ timout: 5 }, { retrys: 0 }, { isolaton: 'snapshot' }])
    await expect(storage.transaction(work, { on: 'other', ...options })).rejects.toMatchObject({ code: 'VALIDATION' });
  expect(runs).toBe(0);
});

test('a signal that is none is refused before anything is asked', async () => {
  for (const signal of [null, 5, {}])
    await expect(storage.collection(Notes).find('a', { signal } as never)).rejects.toMatchObject({
      code: 'VALIDATION',
      details: { key: 'signal' },
    });
});
