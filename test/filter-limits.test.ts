/** Where answers of databases would differ, what is too much is refused before any is asked. */
import { expect, test } from '@jest/globals';
import { defineCollection, openStorage, type Filter } from '../src/index.js';

interface Note {
  text: string;
  n: number;
}
const Notes = defineCollection<Note>({ name: 'notes', fields: { n: 'number' }, text: ['text'] });

const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i}`).join(' ');
const isAny = (count: number): Filter<Note> => ({ $or: Array.from({ length: count }, (_, n) => ({ n })) });

test('a filter has 256 conditions, each word of a $text being one', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const notes = storage.collection(Notes);
  await notes.save({ text: words(256), n: 1 });
  // The same word twice is one.
  for (const filter of [{ $text: `${words(256)} ${words(256)}` }, isAny(256), { $text: words(100), ...isAny(156) }])
    expect(await notes.count(filter)).toBe(1);
  for (const filter of [{ $text: words(257) }, isAny(257), { $text: words(101), ...isAny(156) }])
    await expect(notes.count(filter)).rejects.toMatchObject({
      code: 'INVALID_FILTER',
      message: expect.stringContaining('at most 256 conditions') as unknown,
    });
});

test.each([['createdAt'], ['expiresAt']])(
  'a record with a %s that does not sort as its text is not loaded',
  async (key) => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    const late = new Date(Date.UTC(9999, 11, 30));
    const times = [new Date('-000001-12-31T23:59:59.999Z'), new Date('0000-01-01'), late, new Date(8.64e15)];
    const { written, failures } = await storage
      .collection(Notes)
      .load(times.map((time, n) => ({ value: { text: '', n }, [key]: time })));
    expect(written).toBe(2);
    expect(failures.map(({ index, error }) => [index, error.code])).toEqual([
      [0, 'VALIDATION'],
      [3, 'VALIDATION'],
    ]);
  },
);

test('what is pushed counts the list it goes into', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const lists = storage.collection(defineCollection<{ list: unknown[] }>({ name: 'lists', id: 'given' }));
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
  await lists.insert({ list: [] }, { id: 'a' });
  await expect(lists.patch('a', { push: { list: nested(63) } })).rejects.toMatchObject({ code: 'VALIDATION' });
  const { value } = await lists.patch('a', { push: { list: nested(62) } });
  expect((await lists.replace('a', value)).version).toBe(3);
});
