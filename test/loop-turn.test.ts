/** Databases inside the process let its event loop turn, however many calls are awaited one after another. */
import { describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', id: 'given' });

/** Calls go on until the loop has turned so often that it is no accident; that it never does is what the bound is for. */
const TURNS = 5;
const PATIENCE = 20_000;

describe.each(['memory:', 'sqlite::memory:', 'pglite::memory:'])('%s', (main) => {
  test.each<[string, (storage: StorageManager, n: number) => Promise<unknown>]>([
    ['writes', (storage, n) => storage.collection(Notes).save({ n }, { id: 'a' })],
    ['reads', (storage) => storage.collection(Notes).get('a')],
    ['transactions', (storage, n) => storage.transaction((tx) => tx.collection(Notes).save({ n }, { id: 'a' }))],
  ])('lets timers run while %s are awaited one after another', async (_what, call) => {
    await using storage = await openStorage({ databases: { main } }, { environment: {}, directory: null });
    await storage.collection(Notes).save({ n: 0 }, { id: 'a' });
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const end = performance.now() + PATIENCE;
    for (let n = 1; turns < TURNS && performance.now() < end; n++) await call(storage, n);
    clearInterval(timer);
    expect(turns).toBeGreaterThanOrEqual(TURNS);
  });

  test('and while one transaction goes on', async () => {
    await using storage = await openStorage({ databases: { main } }, { environment: {}, directory: null });
    await storage.prepare([Notes]);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const end = performance.now() + PATIENCE;
    await storage.transaction(async (tx) => {
      for (let n = 1; turns < TURNS && performance.now() < end; n++)
        await tx.collection(Notes).save({ n }, { id: 'a' });
    });
    clearInterval(timer);
    expect(turns).toBeGreaterThanOrEqual(TURNS);
  });
});
