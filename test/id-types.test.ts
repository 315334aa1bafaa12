/** What the compiler knows of ids: where they are given, whoever makes a record names one. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineCollection, openStorage, type Collection, type IdKind, type Transaction } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';

interface Note {
  readonly text: string;
}

const Given = defineCollection<Note>({ name: 'given', id: 'given' });
const GivenBySchema = defineCollection({
  name: 'given_by_schema',
  schema: z.object({ text: z.string() }),
  id: 'given',
});
const Made = defineCollection<Note>({ name: 'made' });
const Numbered = defineCollection({ name: 'numbered', schema: z.object({ text: z.string() }), id: 'sequence' });

const value = { text: 'x' };
const refused = { code: 'VALIDATION' };

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:', other: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

test('a save of a record that has no id does not compile, and is refused', async () => {
  const given = storage.collection(Given);
  const bySchema = storage.collection(GivenBySchema);
  const wrong: readonly (() => Promise<unknown>)[] = [
    // @ts-expect-error no id
    () => given.save(value),
    // @ts-expect-error no id among the options
    () => given.insert(value, { ttl: 1_000 }),
    // @ts-expect-error an id that may not be there
    () => given.save(value, { id: undefined }),
    // @ts-expect-error no id
    () => bySchema.insert(value),
    // @ts-expect-error no id of one among several
    () => given.saveMany([{ id: 'a', value }, { value }]),
  ];
  for (const call of wrong) await expect(call()).rejects.toMatchObject(refused);
  // @ts-expect-error no id of one among several
  const report = await given.load([{ value }]);
  expect(report).toMatchObject({ written: 0, failed: 1 });
  const left = (tx: Transaction): Promise<unknown> =>
    // @ts-expect-error no id
    tx.deliver.collection(Given, { on: 'other' }).save(value);
  await expect(storage.transaction(left)).rejects.toMatchObject(refused);
  expect(await given.count()).toBe(0);
});

test('where ids are made, one may be named', async () => {
  for (const records of [storage.collection(Made), storage.collection(Numbered)]) {
    await records.save(value);
    await records.save(value, { id: '7', ttl: 60_000 });
    await records.saveMany([{ value }, { id: '9', value }]);
    expect(await records.count()).toBe(4);
  }
});

test('what works with any collection takes one of given ids', async () => {
  const texts = async (records: Collection<Note>): Promise<string[]> =>
    (await records.list()).items.map((record) => record.value.text);
  const given = storage.collection(Given);
  await given.save(value, { id: 'a' });
  expect(await texts(given)).toEqual(['x']);
  const either = { name: 'either', id: 'given' as IdKind };
  const declared = defineCollection<Note>(either);
  await storage.collection(declared).save(value, { id: 'a' });
  expect(await texts(storage.collection(declared))).toEqual(['x']);
});
