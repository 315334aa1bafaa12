/** Deliveries by several managers, by later ones, and where the one that is there does not know the target. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type StorageManager } from '../src/index.js';
import { settled } from './support/manual-clock.js';
import { Folder } from './support/sqlite/fixture.js';

const Orders = defineCollection<{ total: number }>({ name: 'orders', id: 'given' });

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

/** @param others the databases beside the one whose transactions leave something */
function open(others: readonly string[], deliver = true): Promise<StorageManager> {
  const urls = Object.fromEntries(['main', ...others].map((name) => [name, `sqlite:${folder.file(`${name}.db`)}`]));
  return openStorage(
    { databases: urls, stores: { default: 'main', kv: 'side' }, outbox: { deliver } },
    { environment: {} },
  );
}

async function delivered(storage: StorageManager): Promise<void> {
  while ((await storage.outbox.backlog()).waiting > 0) await settled();
}

test('two managers that leave and deliver at once do each thing once, in its order', async () => {
  await using one = await open(['side']);
  await using two = await open(['side']);
  const each = 40;
  const leave = async (storage: StorageManager, from: string): Promise<void> => {
    for (let n = 1; n <= each; n++)
      await storage.transaction(async (tx) => {
        await tx.deliver.kv.increment('counts', 'all');
        await tx.deliver.collection(Orders, { on: 'side' }).save({ total: n }, { id: from });
      });
  };
  await Promise.all([leave(one, 'one'), leave(two, 'two')]);
  await delivered(one);
  expect(await one.kv.get('counts', 'all')).toMatchObject({ value: 2 * each });
  for (const id of ['one', 'two'])
    expect(await two.collection(Orders, { on: 'side' }).get(id)).toMatchObject({
      version: each,
      value: { total: each },
    });
  expect((await one.outbox.backlog()).dead).toBe(0);
});

test('what was left when the last manager closed is delivered by the next that opens', async () => {
  {
    await using storage = await open(['side'], false);
    await storage.transaction((tx) => tx.deliver.kv.set('counts', 'k', 1));
    expect((await storage.outbox.backlog()).waiting).toBe(1);
  }
  await using storage = await open(['side']);
  await delivered(storage);
  expect(await storage.kv.get('counts', 'k')).toMatchObject({ value: 1 });
});

test('a manager that does not know the target leaves it to one that does', async () => {
  const failed: unknown[] = [];
  {
    await using storage = await open(['side', 'archive'], false);
    await storage.transaction((tx) => tx.deliver.collection(Orders, { on: 'archive' }).save({ total: 1 }, { id: 'a' }));
  }
  {
    await using stranger = await open(['side']);
    stranger.on('error', (error) => failed.push(error.code));
    // Its own message comes after the other's was looked at.
    await stranger.transaction((tx) => tx.deliver.kv.set('counts', 'k', 1));
    while ((await stranger.outbox.backlog()).waiting > 1) await settled();
    expect(await stranger.kv.get('counts', 'k')).toMatchObject({ found: true });
    expect(await stranger.outbox.backlog()).toMatchObject({ waiting: 1, dead: 0 });
  }
  await using storage = await open(['side', 'archive']);
  const archived = storage.collection(Orders, { on: 'archive' });
  while (!(await archived.has('a'))) await settled();
  expect(await archived.get('a')).toMatchObject({ version: 1, value: { total: 1 } });
  expect(failed).toEqual([]);
});
