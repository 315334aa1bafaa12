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

const atPath = (segments: number, length: number): string => Array(segments).fill('a'.repeat(length)).join('.');

test('a path has 16 segments of 128 characters, of records and of metadata, in filters and declarations', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const things = storage.collection(defineCollection({ name: 'things' }));
  const vectors = storage.vectors();
  await vectors.createCollection({ name: 'docs', dimension: 1 });
  const longest = atPath(16, 128);
  await things.save(
    longest.split('.').reduceRight<unknown>((value, key) => ({ [key]: value }), 1) as Record<string, unknown>,
  );
  expect(await things.count({ [longest]: 1 })).toBe(1);
  expect(await vectors.count('docs', { [longest]: 1 })).toBe(0);
  expect(defineCollection({ name: 'declared', fields: { [longest]: 'number' } }).domain.declared.size).toBe(1);
  for (const path of [atPath(17, 1), 'a'.repeat(129), `a.${'a'.repeat(129)}`, '', 'a.']) {
    for (const work of [() => things.count({ [path]: 1 }), () => vectors.count('docs', { [path]: 1 })])
      await expect((async () => work())()).rejects.toMatchObject({ code: 'INVALID_FILTER' });
    for (const spec of [{ fields: { [path]: 'number' as const } }, { text: [path] }])
      expect(() => defineCollection({ name: 'declared', ...spec })).toThrow(
        expect.objectContaining({ code: 'VALIDATION' }),
      );
  }
});

test('a filter is 32 levels deep, of records and of metadata', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const things = storage.collection(defineCollection({ name: 'things', id: 'given' }));
  const vectors = storage.vectors();
  await vectors.createCollection({ name: 'docs', dimension: 1 });
  await things.save({ a: 1 }, { id: 'one' });
  await vectors.upsert('docs', [{ id: 'one', vector: [1], metadata: { a: 1 } }]);
  const repeated = (levels: number, wrap: (filter: object) => object, within: object): object =>
    levels === 0 ? within : wrap(repeated(levels - 1, wrap, within));
  const deep = (levels: number): object[] => [
    repeated(levels - 1, (filter) => ({ $and: [filter] }), { a: 1 }),
    repeated(levels - 1, (filter) => ({ $or: [filter] }), { a: 1 }),
    repeated(levels - 1, (filter) => ({ $not: filter }), levels % 2 === 1 ? { a: 1 } : { a: 2 }),
    { a: repeated(levels - 2, (operators) => ({ $not: operators }), levels % 2 === 0 ? { $eq: 1 } : { $eq: 2 }) },
  ];
  for (const filter of deep(32))
    expect([await things.count(filter as never), await vectors.count('docs', filter as never)]).toEqual([1, 1]);
  for (const filter of deep(33))
    for (const work of [() => things.count(filter as never), () => vectors.count('docs', filter as never)])
      await expect((async () => work())()).rejects.toMatchObject({
        code: 'INVALID_FILTER',
        message: expect.stringContaining('at most 32 levels') as unknown,
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
