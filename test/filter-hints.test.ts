import { expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';

test('a nested object in a filter is refused with the path to write instead, for records and for vectors', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const Cars = defineCollection<{ owner: { address: { city: string } } }>({ name: 'cars' });
  const filter = { owner: { address: { city: 'x' } } } as never;
  const hinted = expect.objectContaining({
    code: 'INVALID_FILTER',
    message: expect.stringContaining("named by its path: 'owner.address'") as unknown,
  });
  await expect(storage.collection(Cars).query(filter)).rejects.toEqual(hinted);
  const vectors = storage.vectors();
  await vectors.createCollection({ name: 'docs', dimension: 2 });
  await expect(vectors.search('docs', { vector: [1, 0], filter })).rejects.toEqual(hinted);
  await expect(vectors.count('docs', { a: { $regex: 'x' } })).rejects.toEqual(
    expect.objectContaining({ message: expect.not.stringContaining('path') as unknown }),
  );
});
