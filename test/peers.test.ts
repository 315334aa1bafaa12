/** What other storage libraries got wrong with other people's data, each fault as a test on every database. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { statementsOf } from './support/statements.js';
import { storageTargets } from './support/storage-targets.js';

interface Item {
  a?: number;
  b?: number;
  c?: number;
  owner?: string;
}

const Items = defineCollection<Item>({ name: 'items', fields: { owner: 'string', a: 'number' }, id: 'given' });
const Loose = defineCollection({ name: 'loose', fields: { "o'wner": 'string' }, id: 'given' });
const Counted = defineCollection<{ text: string }>({ name: 'counted', id: 'sequence' });

/** What ends a text or a comment, opens another one, or means something in a path, to one server or another. */
const HOSTILE = [
  "a'); DROP TABLE items; --",
  "x' = 'x' OR 1=1 --",
  '/* */ OR true',
  'a$1',
  ':name',
  '?',
  'a)||(b',
  '@@',
  '[0]',
  '*',
  '%',
  'pg_sleep(9)',
  '_id',
  'tenant',
  'constructor',
  '£ключ😀',
];
/** Those that cannot be a part of any path. */
const REFUSED = ['"; DROP TABLE items; --', '\\', '`', 'a\u0000', '$where', '__proto__', 'a..b', '', '.', '\ud800'];

describe.each(storageTargets('the faults of others'))('the faults of others on $name', ({ prepare, transactions }) => {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  let tenants = 0;
  const fresh = () => storage.tenant(`fresh.${tenants++}`);
  beforeAll(async () => {
    const { url, drop: end } = await prepare();
    drop = end;
    storage = await openStorage({ databases: { main: url } }, { environment: {} });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });

  test('a delete or a change by a group beside a field touches what fits both, and no other owner', async () => {
    const items = fresh().collection(Items);
    const save = async () => {
      await items.save({ a: 1, owner: 'acme' }, { id: '1' });
      await items.save({ a: 2, owner: 'acme' }, { id: '2' });
      await items.save({ a: 1, owner: 'other' }, { id: '3' });
    };
    await save();
    const filter = { $and: [{ $or: [{ a: 1 }, { a: 2 }], owner: 'acme' }] };
    expect(await items.updateWhere(filter, { increment: { c: 1 } })).toBe(2);
    expect((await items.aggregate(filter)).map(({ count }) => count)).toEqual([2]);
    expect(await items.deleteWhere(filter)).toBe(2);
    expect((await items.list()).items.map(({ id, value }) => [id, value])).toEqual([['3', { a: 1, owner: 'other' }]]);
    await save();
    // The other way around, and with a negation between.
    expect(await items.deleteWhere({ owner: 'acme', $not: { $and: [{ $or: [{ a: 2 }] }] } })).toBe(1);
    expect((await items.list()).items.map(({ id }) => id)).toEqual(['2', '3']);
  });

  test('the fields of a branch of $or stay together in a delete', async () => {
    const items = fresh().collection(Items);
    for (const [id, value] of Object.entries({ ab: { a: 1, b: 2 }, a: { a: 1 }, b: { b: 2 }, c: { c: 3 } }))
      await items.save(value, { id });
    expect(await items.deleteWhere({ $or: [{ a: 1, b: 2 }, { c: 3 }] })).toBe(2);
    expect((await items.list()).items.map(({ id }) => id)).toEqual(['a', 'b']);
  });

  test('an operator that is not known is refused by everything that takes a filter, and nothing is deleted', async () => {
    const items = fresh().collection(Items);
    await items.save({ a: 1, owner: 'x' }, { id: '1' });
    const unknown = [
      { owner: { eq: 'x' } },
      { owner: { $regex: '.*' } },
      { owner: { $EQ: 'x' } },
      { owner: { $eq: 'x', like: 'x' } },
      { $nor: [] },
      { or: { $or: [] } },
      { $or: [{ owner: { $like: '%' } }, { a: 1 }] },
      { a: 1, $where: 'true' },
    ];
    for (const filter of unknown as never[]) {
      const refused = { code: 'INVALID_FILTER' };
      await expect(items.deleteWhere(filter)).rejects.toMatchObject(refused);
      await expect(items.updateWhere(filter, { set: { a: 5 } })).rejects.toMatchObject(refused);
      await expect(items.claim(filter, { set: { a: 5 } })).rejects.toMatchObject(refused);
      await expect(items.query(filter)).rejects.toMatchObject(refused);
      await expect(items.count(filter)).rejects.toMatchObject(refused);
      await expect(items.aggregate(filter)).rejects.toMatchObject(refused);
      await expect(items.each(filter).next()).rejects.toMatchObject(refused);
      await expect(items.patch('1', { set: { a: 5 } }, { if: filter })).rejects.toMatchObject(refused);
    }
    expect((await items.list()).items).toMatchObject([{ id: '1', version: 1, value: { a: 1, owner: 'x' } }]);
  });

  test('an empty $in or $or matches nothing, and its negation is not taken for a condition', async () => {
    const items = fresh().collection(Items);
    await items.save({ a: 1, owner: 'x' }, { id: '1' });
    for (const filter of [
      { owner: { $in: [] } },
      { $or: [] },
      { a: 1, owner: { $in: [] } },
      { $or: [{ a: { $in: [] } }] },
    ]) {
      expect(await items.deleteWhere(filter)).toBe(0);
      expect(await items.updateWhere(filter, { set: { a: 5 } })).toBe(0);
      expect(await items.claim(filter, { set: { a: 5 } })).toEqual([]);
      expect(await items.count(filter)).toBe(0);
      expect((await items.query(filter)).items).toEqual([]);
    }
    for (const all of [
      { owner: { $nin: [] } },
      { $not: { owner: { $in: [] } } },
      { $and: [{}, { $not: { $or: [] } }] },
    ])
      await expect(items.deleteWhere(all)).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(await items.count()).toBe(1);
  });

  test.each([
    ['user.1', 'user.10'],
    ['user.1', 'user.1.'],
    ['user.1', 'user.1.child'],
    ['user_1', 'userx1'],
    ['user%', 'user.all'],
    ['user', 'User'],
    ['straße', 'strasse'],
    ['é', 'e\u0301'],
    ['(1', '(1)'],
  ])('the tenant %j never meets the tenant %j', async (mine, theirs) => {
    const [my, their] = [mine, theirs].map((tenant) => storage.tenant(tenant).collection(Items));
    // Each id also begins another one's, so that key and tenant together would be the other's.
    for (const id of ['1', '10', '.1', '0', '0.1']) await their!.save({ owner: theirs }, { id });
    await my!.save({ owner: mine }, { id: '1' });
    expect((await my!.list()).items.map(({ value }) => value.owner)).toEqual([mine]);
    expect(await my!.getMany(['0', '1', '10'])).toMatchObject([undefined, { value: { owner: mine } }, undefined]);
    expect(await my!.count()).toBe(1);
    expect((await my!.query({ owner: { $startsWith: '' } })).items).toHaveLength(1);
    expect(await my!.deleteWhere({ all: true })).toBe(1);
    await expect(my!.delete('10')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await their!.deleteWhere({ all: true })).toBe(5);
  });

  test('ids that begin another one are other ids, to reads, writes, pages and sequences', async () => {
    const items = fresh().collection(Items);
    const ids = [
      'user',
      'user.1',
      'user.10',
      'user.1%',
      'user_1',
      'userx1',
      'USER',
      'user/1',
      'user\u00e9',
      'usere\u0301',
    ];
    for (const id of ids) await items.insert({ owner: id }, { id });
    for (const id of ids) expect((await items.get(id)).value.owner).toBe(id);
    const listed: string[] = [];
    for await (const { id } of items.each({}, { sort: { id: 'asc' } })) listed.push(id);
    expect(listed).toEqual([...ids].sort());
    expect(await items.count({ id: { $in: ['user.1', 'user'] } })).toBe(2);
    expect(await items.count({ id: { $startsWith: 'user_' } })).toBe(1);
    await items.delete('user.1');
    expect(await items.count()).toBe(ids.length - 1);
    if (!transactions) return;
    const numbers = ['user.1', 'user.10', 'user.1%'].map((tenant) => storage.tenant(tenant).collection(Counted));
    for (const one of numbers) expect((await one.save({ text: 'a' })).id).toBe('1');
  });

  test.each(HOSTILE)('a field named %j is data, in filters, changes and conditions', async (name) => {
    const loose = fresh().collection(Loose);
    await loose.save({ [name]: { [name]: 1 }, beside: 1 }, { id: '1' });
    await loose.save({ [name]: { [name]: 2 } }, { id: '2' });
    const path = `${name}.${name}`;
    const found = async (filter: Record<string, unknown>) => (await loose.query(filter)).items.map(({ id }) => id);
    expect(await found({ [path]: 1 })).toEqual(['1']);
    expect(await found({ [path]: { $gt: 1 } })).toEqual(['2']);
    expect(await found({ [path]: { $in: [1, name] } })).toEqual(['1']);
    expect(await found({ [name]: { $exists: false } })).toEqual([]);
    expect(await found({ [name]: { $contains: name } })).toEqual([]);
    const changed = await loose.patch('1', { set: { [path]: 7 }, increment: { beside: 1 } }, { if: { [path]: 1 } });
    expect(changed.value).toEqual({ [name]: { [name]: 7 }, beside: 2 });
    expect(await loose.deleteWhere({ [path]: 7 })).toBe(1);
    expect((await loose.list()).items.map(({ value }) => value)).toEqual([{ [name]: { [name]: 2 } }]);
  });

  test('a declared field with a quote in its name is found and sorted by; a name that no path can have is refused', async () => {
    const loose = fresh().collection(Loose);
    for (const [id, owner] of ['b', 'a'].entries()) await loose.save({ "o'wner": owner }, { id: String(id) });
    expect(
      (await loose.query({ "o'wner": { $gte: 'a' } }, { sort: { "o'wner": 'asc' } })).items.map(({ id }) => id),
    ).toEqual(['1', '0']);
    for (const name of REFUSED) {
      await expect(loose.query({ [`x.${name}`]: 1 })).rejects.toMatchObject({ code: 'INVALID_FILTER' });
      await expect(loose.deleteWhere({ [`x.${name}`]: 1 })).rejects.toMatchObject({ code: 'INVALID_FILTER' });
      await expect(loose.patch('0', { set: { [`x.${name}`]: 1 } })).rejects.toMatchObject({ code: 'VALIDATION' });
      await expect(loose.query({}, { sort: { [`x.${name}`]: 'asc' } })).rejects.toThrow();
      expect(() => defineCollection({ name: 'other', fields: { [`x.${name}`]: 'string' } })).toThrow(/path/);
    }
    expect(() => defineCollection({ name: 'a"; DROP TABLE items; --' })).toThrow(/name/);
    expect(await loose.count()).toBe(2);
  });
});

const [postgres] = storageTargets('field names in SQL').filter(({ name }) => name === 'postgres');
(postgres === undefined ? test.skip : test)('field names stand in SQL as quoted texts only', async () => {
  const { url, drop } = await postgres!.prepare();
  const name = "marker' || (SELECT marker()) || 'marker";
  const definition = { name: 'marked', fields: { [name]: 'number' }, indexes: [{ keys: [name] }] } as const;
  const Marked = defineCollection({ ...definition, unique: [{ name: 'one', fields: [name] }] });
  try {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const marked = storage.collection(Marked);
    const sent = await statementsOf(async () => {
      const { id } = await marked.save({ [name]: 1, [`deep${name}`]: { [name]: 1 } });
      for (const path of [name, `deep${name}.${name}`])
        for (const operand of [
          1,
          { $gt: 0 },
          { $in: [1, 2] },
          { $exists: true },
          { $ne: null },
          { $not: { $contains: 2 } },
        ])
          expect((await marked.query({ [path]: operand })).items).toHaveLength(1);
      await marked.query({}, { sort: { [name]: 'desc' } });
      await marked.patch(id, { increment: { [name]: 1 }, set: { [`other${name}`]: 1 }, unset: [`deep${name}`] });
      expect(await marked.aggregate({}, { by: [name], numbers: [name] })).toHaveLength(1);
      expect(await marked.updateWhere({ [name]: 2 }, { set: { [`other${name}`]: 5 } })).toBe(1);
      await marked.deleteWhere({ [`other${name}`]: 5 });
    });
    expect(sent.filter((text) => text.includes('marker')).length).toBeGreaterThan(5);
    const bare = sent.map((text) => text.replace(/'(?:[^']|'')*'/g, "''"));
    expect(bare.filter((text) => text.includes('marker'))).toEqual([]);
  } finally {
    await drop();
  }
});
