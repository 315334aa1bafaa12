/** What the compiler knows of the paths into a record: through records of objects, unions, and types that hold themselves. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type Collection } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

/** Calls that must not compile: they are never made. */
type Wrong<T> = readonly ((records: Collection<T>) => unknown)[];

interface Team {
  users: Record<string, { score: number; name: string }>;
  grid: Record<string, Record<string, number>>;
  counts: Record<string, number>;
  notes: Record<string, unknown>;
}

test('a path goes through the names of a record', async () => {
  const teams = storage.collection(defineCollection<Team>({ name: 'teams', id: 'given' }));
  const ann = { score: 1, name: 'Ann' };
  await teams.save({ users: { ann }, grid: { x: { y: 1 } }, counts: {}, notes: {} }, { id: 'a' });
  await teams.increment('a', 'users.ann.score', 2);
  await teams.increment('a', 'grid.x.y');
  await teams.patch('a', {
    set: { 'users.ann.name': 'Anna', 'users.bob': { score: 9, name: 'Bob' }, 'notes.x.y': 5, 'grid.z': { y: 7 } },
    increment: { 'counts.all': 1 },
  });
  const { items } = await teams.query({ 'users.ann.score': { $gt: 2 }, 'users.bob.name': 'Bob', 'grid.x.y': 2 });
  expect(items.map(({ value }) => value)).toEqual([
    {
      users: { ann: { score: 3, name: 'Anna' }, bob: { score: 9, name: 'Bob' } },
      grid: { x: { y: 2 }, z: { y: 7 } },
      counts: { all: 1 },
      notes: { x: { y: 5 } },
    },
  ]);
  const wrong: Wrong<Team> = [
    // @ts-expect-error an object where the number is
    (records) => records.patch('a', { set: { 'users.ann.score': { score: 5, name: 'x' } } }),
    // @ts-expect-error a text where the number is
    (records) => records.query({ 'users.ann.score': 'high' }),
    // @ts-expect-error an increment of a text
    (records) => records.increment('a', 'users.ann.name'),
    // @ts-expect-error an increment of an object
    (records) => records.increment('a', 'users.ann'),
    // @ts-expect-error the same of a record
    (records) => records.increment('a', 'grid.x'),
    // @ts-expect-error below a number there is nothing
    (records) => records.query({ 'counts.all.more': 'x' }),
  ];
  expect(wrong).toHaveLength(6);
});

type Shape =
  | { kind: 'circle'; r: number; note?: string; tags?: string[]; at: { t: 'x'; x: number } }
  | { kind: 'rect'; w: number; h: number; at: { t: 'y'; y: string } | null };

test('in a union, what only some variants have is of their type', async () => {
  const shapes = storage.collection(defineCollection<Shape>({ name: 'shapes', id: 'given' }));
  await shapes.save({ kind: 'circle', r: 1, at: { t: 'x', x: 1 } }, { id: 'a' });
  await shapes.patch('a', { set: { r: 2, note: 'n', 'at.x': 3 }, push: { tags: 'big' } });
  await shapes.increment('a', 'r');
  const found = await shapes.query({ r: { $gte: 3 }, note: 'n', tags: { $contains: 'big' }, 'at.x': 3, 'at.t': 'x' });
  expect(found.items).toHaveLength(1);
  expect(await shapes.count({ w: 1 })).toBe(0);
  const wrong: Wrong<Shape> = [
    // @ts-expect-error a text for a number
    (records) => records.query({ r: 'text' }),
    // @ts-expect-error the same of a change
    (records) => records.patch('a', { set: { r: 'text' } }),
    // @ts-expect-error an increment of a text
    (records) => records.patch('a', { increment: { note: 1 } }),
    // @ts-expect-error the same
    (records) => records.increment('a', 'note'),
    // @ts-expect-error a push to what is no array
    (records) => records.patch('a', { push: { r: 'x' } }),
    // @ts-expect-error an element of another type
    (records) => records.patch('a', { push: { tags: 5 } }),
    // @ts-expect-error a variant of a member
    (records) => records.query({ 'at.x': 'text' }),
    // @ts-expect-error the same, compared
    (records) => records.query({ 'at.y': { $gt: 5 } }),
    // @ts-expect-error the same, set
    (records) => records.patch('a', { set: { 'at.x': { any: 'thing' } } }),
  ];
  expect(wrong).toHaveLength(9);
});

interface Tree {
  kind: string;
  a?: Tree;
  b?: Tree;
  c?: Tree;
  d?: Tree;
  e?: Tree;
  f?: Tree;
  g?: Tree;
  h?: Tree;
  i?: Tree;
  j?: Tree;
  k?: Tree;
  l?: Tree[];
}
interface Source {
  name: string;
  tree: Tree;
  byName: Record<string, Tree>;
  twice: { first: { n: number }; second: { n: number } };
  any: unknown;
}

test('a type that holds itself costs the compiler nothing: its paths are open from where it comes again', async () => {
  const sources = storage.collection(
    defineCollection<Source>({ name: 'sources', fields: { name: 'string', 'tree.kind': 'string' } }),
  );
  const tree: Tree = { kind: 'a', b: { kind: 'b', c: { kind: 'c' } } };
  await sources.save({ name: 's', tree, byName: { x: tree }, twice: { first: { n: 1 }, second: { n: 1 } }, any: 1 });
  const paths = { 'tree.kind': 'a', 'tree.b.c.kind': 'c', 'byName.x.b.kind': 'b', 'twice.second.n': 1 } as const;
  expect(await sources.count(paths)).toBe(1);
  expect(await sources.count({ 'tree.b.q.nowhere': 1, 'any.x.y': 2 })).toBe(0);
  const wrong: Wrong<Source> = [
    // @ts-expect-error before that they are checked
    (records) => records.query({ nam: 's' }),
    // @ts-expect-error the same inside of it
    (records) => records.query({ 'tree.kid': 's' }),
    // @ts-expect-error its value
    (records) => records.query({ 'tree.kind': 5 }),
    // @ts-expect-error a type that stands twice in a record, and not in itself, is checked
    (records) => records.query({ 'twice.second.m': 1 }),
    // @ts-expect-error an array ends a path
    (records) => records.query({ 'twice.first.n.length': 1 }),
  ];
  expect(wrong).toHaveLength(5);
});

test('a field is declared as what stands there', async () => {
  interface Order {
    total: number;
    note?: string | null;
    paid: boolean;
    at: Date;
    key: string | number;
    lines: { n: number }[];
    customer: { name: string };
    any: unknown;
  }
  const fields = { total: 'number', note: 'string', paid: 'boolean', at: 'date', key: 'number', any: 'date' } as const;
  const orders = storage.collection(
    defineCollection<Order>({
      name: 'orders',
      fields: { ...fields, 'customer.name': { type: 'string', maxBytes: 9 } },
    }),
  );
  const value = { total: 1, paid: true, key: 5, lines: [], customer: { name: 'Ann' } };
  const saved = await orders.save({ ...value, at: new Date(0), any: new Date(1) });
  expect((await orders.query({ 'customer.name': { $startsWith: 'A' }, any: { $lte: new Date(1) } })).items).toEqual([
    saved,
  ]);
  const wrong: readonly (() => unknown)[] = [
    // @ts-expect-error a number as a string
    () => defineCollection<Order>({ name: 'wrong', fields: { total: 'string' } }),
    // @ts-expect-error a string as a date: it would be read as a Date
    () => defineCollection<Order>({ name: 'wrong', fields: { note: 'date' } }),
    // @ts-expect-error the same below
    () => defineCollection<Order>({ name: 'wrong', fields: { 'customer.name': { type: 'number' } } }),
    // @ts-expect-error a list
    () => defineCollection<Order>({ name: 'wrong', fields: { lines: 'string' } }),
    // @ts-expect-error an object
    () => defineCollection<Order>({ name: 'wrong', fields: { customer: 'string' } }),
    // @ts-expect-error the beginning of a number
    () => orders.query({ total: { $startsWith: '1' } }),
  ];
  expect(wrong).toHaveLength(6);
});

test('unset takes what a record may lack', async () => {
  interface Page {
    title: string;
    note?: string;
    by: string | undefined;
    limits?: { size: number; age?: number };
    counts: Record<string, number>;
    any: unknown;
  }
  type Figure = { kind: 'circle'; r: number } | { kind: 'rect'; w: number; h?: number };
  const pages = storage.collection(defineCollection<Page>({ name: 'unset_pages', id: 'given' }));
  const limits = { size: 1, age: 2 };
  await pages.save({ title: 't', note: 'n', by: 'b', limits, counts: { a: 1 }, any: { x: 1 } }, { id: 'a' });
  await pages.patch('a', { unset: ['note', 'by', 'limits.age', 'counts.a', 'any.x'] });
  expect((await pages.patch('a', { unset: ['limits', 'any'] })).value).toEqual({ title: 't', counts: {} });
  const figures = storage.collection(defineCollection<Figure>({ name: 'unset_figures', id: 'given' }));
  await figures.save({ kind: 'circle', r: 1 }, { id: 'a' });
  const rect = await figures.patch('a', { set: { kind: 'rect', w: 2 }, unset: ['r'] });
  expect((await figures.patch('a', { unset: ['h'] })).value).toEqual(rect.value);
  const wrong: readonly (() => unknown)[] = [
    // @ts-expect-error what every record has
    () => pages.patch('a', { unset: ['title'] }),
    // @ts-expect-error the same inside of what may be missing as a whole
    () => pages.patch('a', { unset: ['limits.size'] }),
    // @ts-expect-error the same of a record of names
    () => pages.patch('a', { unset: ['counts'] }),
    // @ts-expect-error what every variant has
    () => figures.patch('a', { unset: ['kind'] }),
    // @ts-expect-error what no record has
    () => pages.patch('a', { unset: ['titel'] }),
  ];
  expect(wrong).toHaveLength(5);
});

test('what $text searches may be text', () => {
  interface Page {
    title?: string;
    by: { name: string | null };
    notes: Record<string, string>;
    size: number;
  }
  defineCollection<Page>({ name: 'pages', text: ['title', 'by.name', 'notes.first'] });
  defineCollection({ name: 'anything', text: ['title', 'a.b'] });
  const wrong: readonly (() => unknown)[] = [
    // @ts-expect-error a number
    () => defineCollection<Page>({ name: 'pages', text: ['size'] }),
    // @ts-expect-error an object
    () => defineCollection<Page>({ name: 'pages', text: ['by'] }),
  ];
  expect(wrong).toHaveLength(2);
});
