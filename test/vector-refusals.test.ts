/** What a handle on vectors refuses, and what it reports instead. */
import { expect, test } from '@jest/globals';
import { openStorage } from '../src/index.js';
import type { VectorStore } from '../src/vectors/vector-store.js';

async function onStore(work: (store: VectorStore) => Promise<void>): Promise<void> {
  await using storage = await openStorage({ databases: { main: 'memory:' } });
  await work(storage.vectors());
}

test('a sparse vector where the collection has none is reported of a stream, whose rest is written', async () => {
  await onStore(async (store) => {
    await store.createCollection({ name: 'docs', dimension: 2 });
    const sparse = { indices: [1], values: [1] };
    const records = [
      { id: 'a', vector: [1, 0] },
      { id: 'b', vector: [1, 0], sparse },
      { id: 'c', vector: [1, 0] },
    ];
    expect(await store.upsert('docs', records.values())).toMatchObject({
      ...{ written: 2, failed: 1 },
      failures: [{ index: 1, id: 'b', error: { code: 'UNSUPPORTED' } }],
    });
    await expect(store.upsert('docs', records)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

test.each([null, 5, 'all'])('options that are %j are refused by every method', async (given) => {
  await onStore(async (store) => {
    await store.createCollection({ name: 'docs', dimension: 2 });
    const options = given as never;
    const each = async (): Promise<void> => {
      for await (const record of store.each('docs', options)) throw new Error(record.id);
    };
    for (const refused of [
      store.list('docs', options),
      each(),
      store.fetch('docs', ['a'], options),
      store.get('docs', 'a', options),
      store.count('docs', undefined, options),
      store.delete('docs', ['a'], options),
      store.search('docs', options),
      store.upsert('docs', [], options),
      store.load('docs', [], options),
      store.check('docs', [], options),
      store.buildIndex('docs', options),
      store.createCollection({ name: 'more', dimension: 2 }, options),
      store.describeCollection('docs', options),
      store.listCollections(options),
      store.deleteCollection('docs', options),
    ])
      await expect(refused).rejects.toMatchObject({ code: 'VALIDATION' });
  });
});
