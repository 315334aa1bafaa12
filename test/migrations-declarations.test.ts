/** A step has the collections as they were, beside a process that declares them as they are to be. */
import { expect, test } from '@jest/globals';
import { defineCollection, isStorageError, openStorage, type Collection } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';

const Before = defineCollection<{ name: string; age: string }>({ name: 'people', fields: { name: 'string' } });
const Between = defineCollection<{ name: string; age: string | number }>({ name: 'people' });
const Now = defineCollection<{ name: string; age: number }>({
  name: 'people',
  fields: { name: 'string', age: 'number' },
  unique: [{ name: 'names', fields: ['name'] }],
});

// What is in memory has no records of an earlier process, and refuses none.
const TARGETS = storageTargets('declarations of migrations').filter(
  ({ name, transactions }) => transactions && name !== 'memory',
);

test.each(TARGETS)('a step changes what does not fit the declaration of its own process, on $name', async (target) => {
  const { url, drop } = await target.prepare();
  const storage = await openStorage({ databases: { main: url } }, { environment: {} });
  const first = {
    version: 1,
    name: 'first-people',
    checksum: '1',
    up: async (tx) => {
      await tx
        .collection(Before)
        .saveMany([{ value: { name: 'ann', age: '41' } }, { value: { name: 'bob', age: '7' } }]);
    },
  } satisfies Parameters<typeof storage.migrations>[0][number];
  const second = {
    version: 2,
    name: 'ages',
    checksum: '2',
    up: async (tx) => {
      const people = tx.collection(Between);
      for await (const { id, version, value } of people.each())
        await people.save({ ...value, age: Number(value.age) }, { id, ifVersion: version });
    },
  } satisfies typeof first;

  await storage.migrations([first]).up();
  const people = storage.collection(Now);
  await expect(people.count()).rejects.toMatchObject({ code: 'MIGRATION' });
  await storage.migrations([first, second]).up();
  expect(await agesOf(people)).toEqual([7, 41]);
  await expect(people.save({ name: 'ann', age: 1 })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  // Outside of steps a name has one declaration.
  expect(() => storage.collection(Before)).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
  await storage.close();
  await drop();
});

/** A refusal is remembered for some seconds. */
async function agesOf(people: Collection<{ name: string; age: number }>): Promise<number[]> {
  for (const until = performance.now() + 60_000; ;) {
    try {
      return (await people.list({ sort: { age: 'asc' } })).items.map(({ value }) => value.age);
    } catch (error) {
      if (!isStorageError(error, 'MIGRATION') || performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
