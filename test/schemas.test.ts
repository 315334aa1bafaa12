/** Types follow from the schema, whichever library made it; wrong use does not compile. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import { defineCollection, openStorage, type Collection, type CollectionDefinition } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';

interface User {
  name: string;
  age: number;
}
const definitions: [string, CollectionDefinition<User>][] = [
  ['zod', defineCollection({ name: 'by_zod', schema: z.object({ name: z.string().min(1), age: z.number() }) })],
  [
    'valibot',
    defineCollection({
      name: 'by_valibot',
      schema: v.object({ name: v.pipe(v.string(), v.minLength(1)), age: v.number() }),
    }),
  ],
  ['arktype', defineCollection({ name: 'by_arktype', schema: type({ name: 'string > 0', age: 'number' }) })],
];

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

test.each(definitions)(
  '%s: what fits is kept, what does not is refused with the path, before any I/O',
  async (_name, definition) => {
    const users = storage.collection(definition);
    const saved = await users.save({ name: 'Ann', age: 40 });
    expect(saved.value).toEqual({ name: 'Ann', age: 40 });
    await expect(users.save({ name: '', age: 40 })).rejects.toMatchObject({ code: 'VALIDATION' });
    await expect(users.save({ name: 'Bob', age: 'old' as never })).rejects.toThrow(/age/);
    await expect(users.update(saved.id, () => ({ name: '', age: 1 }))).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(await users.count()).toBe(1);
  },
);

test("a schema's output is what is stored", async () => {
  const Trimmed = defineCollection({
    name: 'trimmed',
    schema: z.object({ name: z.string().trim(), role: z.string().default('guest') }),
  });
  const trimmed = storage.collection(Trimmed);
  const { id, value } = await trimmed.save({ name: ' Ann ' });
  expect(value).toEqual({ name: 'Ann', role: 'guest' });
  const role: string = value.role;
  expect((await trimmed.update(id, (before) => ({ name: `${before.name} ${role}` }))).value.name).toBe('Ann guest');
});

test('wrong use does not compile', async () => {
  const Things = defineCollection<{ name: string; tags: string[]; at?: Date; deep: { n: number } }>({
    name: 'things',
    fields: { name: 'string', at: 'date', 'deep.n': 'number' },
  });
  const things = storage.collection(Things);
  const saved = await things.save({ name: 'a', tags: [], deep: { n: 1 } });
  const wrong: (() => Promise<unknown>)[] = [
    // @ts-expect-error a field that the type does not have
    () => things.query({ nam: 'a' }),
    // @ts-expect-error an operand of another type
    () => things.query({ 'deep.n': 'a' }),
    // @ts-expect-error an operator that there is not
    () => things.query({ name: { $like: 'a' } }),
    // @ts-expect-error a value without a required field
    () => things.save({ name: 'a' }),
    // @ts-expect-error a direction that there is not
    () => things.list({ sort: { name: 'up' } }),
    // @ts-expect-error a change to a value of another type
    () => things.patch('x', { set: { name: 5 } }),
    // @ts-expect-error an element of another type
    () => things.patch('x', { push: { tags: 5 } }),
    // @ts-expect-error an increment of what is no number
    () => things.increment('x', 'name'),
    // @ts-expect-error an option that there is not
    () => things.delete('x', { ifversion: 1 }),
  ];
  expect(wrong).toHaveLength(9);
  expect(
    (await things.query({ 'deep.n': { $gte: 1 }, tags: { $exists: true }, at: { $exists: false } })).items,
  ).toEqual([saved]);
});

test('a record that is no object does not compile', () => {
  const wrong: readonly (() => unknown)[] = [
    // @ts-expect-error a text
    () => defineCollection({ name: 'wrong', schema: z.string() }),
    // @ts-expect-error a number, of another library
    () => defineCollection({ name: 'wrong', schema: v.number() }),
    // @ts-expect-error the same of a type argument
    () => defineCollection<string>({ name: 'wrong' }),
  ];
  expect(wrong).toHaveLength(3);
  const schema = z.union([z.object({ a: z.string() }), z.record(z.string(), z.number())]);
  expect(defineCollection({ name: 'right', schema }).name).toBe('right');
});

test('a sort, an index and an aggregate by an undeclared field do not compile', async () => {
  const Jobs = defineCollection({
    name: 'jobs',
    schema: z.object({ state: z.string(), note: z.string().optional(), cost: z.number().optional(), at: z.date() }),
    fields: { state: 'string', cost: 'number', at: 'date' },
    indexes: [{ keys: ['state', ['createdAt', 'desc']] }],
    unique: [{ name: 'one_at_a_time', fields: ['at'] }],
  });
  const jobs = storage.collection(Jobs);
  const at = new Date(0);
  await jobs.save({ state: 'open', cost: 5, at });
  const base = { name: 'wrong', schema: z.object({ a: z.string(), b: z.string() }), fields: { a: 'string' } } as const;
  const wrong: (() => unknown)[] = [
    // @ts-expect-error the type has it, the declaration does not
    () => jobs.list({ sort: { note: 'asc' } }),
    // @ts-expect-error the same of a query
    () => jobs.query({}, { sort: { note: 'asc' } }),
    // @ts-expect-error the same of a claim
    () => jobs.claim({}, { set: { state: 'taken' } }, { sort: { note: 'asc' } }),
    // @ts-expect-error a group by it
    () => jobs.aggregate({}, { by: ['note'] }),
    // @ts-expect-error a sum of it
    () => jobs.aggregate({}, { numbers: ['note'] }),
    // @ts-expect-error a sum of what is declared, and is no number
    () => jobs.aggregate({}, { numbers: ['state'] }),
    // @ts-expect-error an index of it
    () => defineCollection({ ...base, indexes: [{ keys: ['b'] }] }),
    // @ts-expect-error a constraint of it
    () => defineCollection({ ...base, unique: [{ name: 'b', fields: ['b'] }] }),
    // @ts-expect-error a declaration of what the type does not have
    () => defineCollection({ ...base, fields: { c: 'string' } }),
  ];
  expect(wrong).toHaveLength(9);
  const [row] = await jobs.aggregate({}, { by: ['state', 'at'], numbers: ['cost'] });
  const state: string | null = row!.key.state;
  const day: Date | null = row!.key.at;
  expect([state, day, row!.numbers.cost.sum]).toEqual(['open', at, 5]);
  // @ts-expect-error what was not asked for
  expect(row!.numbers.at).toBeUndefined();
  const { items } = await jobs.query(
    {},
    { sort: { at: 'asc', createdAt: 'desc' }, after: undefined, limit: undefined },
  );
  expect(items).toHaveLength(1);
});

test('the declared fields of a collection whose type is an argument can be said, too', async () => {
  const Notes = defineCollection<{ title: string; body: string }, 'title'>({
    name: 'notes',
    fields: { title: 'string' },
  });
  const notes = storage.collection(Notes);
  await notes.save({ title: 'a', body: 'b' }, { id: undefined, ttl: undefined });
  expect((await notes.list({ sort: { title: 'asc' } })).items).toHaveLength(1);
  // @ts-expect-error it is not said
  await expect(notes.list({ sort: { body: 'asc' } })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  const anyNotes: Collection<{ title: string; body: string }> = notes;
  expect(await anyNotes.count()).toBe(1);
});

test.each([
  ['indexes', ['status'], 'collection wrong: indexes[0]'],
  ['indexes', [{ fields: ['status'] }], 'collection wrong: indexes[0]'],
  ['indexes', { keys: ['status'] }, 'collection wrong: indexes'],
  ['unique', [{ name: 'a', keys: ['status'] }], 'collection wrong: unique[0]'],
  ['unique', 'status', 'collection wrong: unique'],
  ['unique', [{ name: 'a', fields: ['status'], where: 'x' }], 'collection wrong: unique[0].where'],
  ['indexes', [{ keys: ['status'], unique: true }], 'collection wrong: indexes[0].unique'],
  ['indexes', [{ keys: [null] }], 'collection wrong: indexes[0].keys[0]'],
  ['indexes', [{ keys: [['status', 'asc', 'x']] }], 'collection wrong: indexes[0].keys[0]'],
  ['indexes', [{ keys: ['status'], scope: 'one' }], 'collection wrong: indexes[0].scope'],
  ['fields', { status: { type: 'string', maxbytes: 5 } }, 'collection wrong: fields.status.maxbytes'],
  ['fields', { status: null }, 'collection wrong: fields.status'],
  ['fields', { status: ['string'] }, 'collection wrong: fields.status'],
  ['fields', new Map([['status', 'string']]), 'collection wrong: fields'],
  ['text', 'status', 'collection wrong: text'],
  ['text', null, 'collection wrong: text'],
  ['fields', null, 'collection wrong: fields'],
  ['indexes', [{ keys: ['status'], scope: null }], 'collection wrong: indexes[0].scope'],
  ['schema', null, 'collection wrong: schema'],
  ['id', null, 'collection wrong: id'],
])('%s that are %j are refused by their place', (member, given, key) => {
  const spec = { name: 'wrong', fields: { status: 'string' }, [member]: given };
  expect(() => defineCollection(spec as never)).toThrow(
    expect.objectContaining({ code: 'VALIDATION', details: expect.objectContaining({ key }) as unknown }),
  );
});

const Strings = { a: 'string', b: 'string', c: 'string', d: 'string', e: 'string', n: 'number' };
const withLong = (maxBytes: number): object => ({ ...Strings, a: { type: 'string', maxBytes } });

test.each<[string, object, string[], boolean]>([
  ['four strings', Strings, ['a', 'b', 'c', 'd'], true],
  ['five strings', Strings, ['a', 'b', 'c', 'd', 'e'], false],
  ['a string of 2,090 bytes', withLong(2_090), ['a'], true],
  ['a string of 2,091 bytes', withLong(2_091), ['a'], false],
  ['a string of 2,600 bytes', withLong(2_600), ['a'], false],
  ['a string of 2,058 bytes and a number', withLong(2_058), ['a', 'n'], true],
  ['a string of 2,059 bytes and a number', withLong(2_059), ['a', 'n'], false],
])('%s in 2,600 bytes of an index beside the tenant and the id', (_what, fields, keys, fit) => {
  for (const by of [
    { indexes: [{ keys }] },
    { indexes: [{ keys, scope: 'all' }] },
    { unique: [{ name: 'u', fields: keys }] },
  ]) {
    const declare = () => defineCollection({ name: 'wide', fields, ...by } as never).name;
    const message = expect.stringContaining('at most 2600 bytes') as unknown;
    if (fit) expect(declare()).toBe('wide');
    else expect(declare).toThrow(expect.objectContaining({ code: 'VALIDATION', message }));
  }
});

test.each(['id', 'version', 'createdAt', 'updatedAt', 'expiresAt'])('%s is no name of a field or a text', (path) => {
  for (const spec of [{ fields: { [path]: 'string' as const } }, { text: [path] }])
    expect(() => defineCollection({ name: 'wrong', ...spec })).toThrow(
      expect.objectContaining({ code: 'VALIDATION', message: expect.stringContaining('mean the envelope') as unknown }),
    );
  // Below another name it is one as any other.
  expect(defineCollection({ name: 'right', fields: { [`of.${path}`]: 'string' as const } }).name).toBe('right');
});
