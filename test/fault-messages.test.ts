/** A fault names the key, the type of what was given and what was expected; in a collection, the collection too. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { gate } from './support/postgres/fixture.js';

interface Order {
  status: string;
  total?: number;
  at?: { place?: string };
}
const Orders = defineCollection<Order>({
  name: 'orders',
  fields: { status: { type: 'string', maxBytes: 8 }, total: 'number', 'at.place': 'string' },
});
const Checked = defineCollection({ name: 'checked', schema: z.object({ name: z.string(), age: z.number() }) });
const Numbered = defineCollection<Order>({ name: 'numbered', id: 'sequence' });

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'sqlite::memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

const wrong = (value: unknown): never => value as never;

test.each<[call: string, message: string, key: string]>([
  [
    'save of a field of another type',
    'value.total: expected a number (as declared), or null, got a string',
    'value.total',
  ],
  ['save of a field that is too long', 'value.status: expected at most 8 bytes, got 9', 'value.status'],
  [
    'save of an array on the way',
    'value.at: expected no array on the way to the declared field at.place, got an array',
    'value.at',
  ],
  ['save of no JSON', 'value.status: expected a JSON value, got a function', 'value.status'],
  ['save under no id', 'id: expected a string, got a number', 'id'],
  [
    'save with a wrong ttl',
    'ttl: expected a number of milliseconds above 0 and at most a thousand years, got a string',
    'ttl',
  ],
  [
    'save with a ttl that is none',
    'ttl: expected a number of milliseconds above 0 and at most a thousand years, got -5',
    'ttl',
  ],
  ['replace', 'value.status: expected a string (as declared), or null, got a boolean', 'value.status'],
  ['patch of a type', 'changes.set.total: expected a number (as declared), or null, got a string', 'changes.set.total'],
  [
    'patch of a type below',
    'changes.set.at.place: expected a string (as declared), or null, got a number',
    'changes.set.at.place',
  ],
  [
    'patch by push',
    'changes.push.total: expected no push of the field total, which is declared as a number, got a number',
    'changes.push.total',
  ],
  [
    'patch by no change',
    'changes.sett: expected one of set, unset, increment, push, got an unknown key',
    'changes.sett',
  ],
])('%s', async (call, message, key) => {
  const orders = storage.collection(Orders);
  const calls: Record<string, () => Promise<unknown>> = {
    'save of a field of another type': () => orders.save({ status: 'open', total: wrong('12') }),
    'save of a field that is too long': () => orders.save({ status: 'very-long' }),
    'save of an array on the way': () => orders.save({ status: 'open', at: wrong([]) }),
    'save of no JSON': () => orders.save({ status: wrong(() => 1) }),
    'save under no id': () => orders.save({ status: 'open' }, { id: wrong(5) }),
    'save with a wrong ttl': () => orders.save({ status: 'open' }, { ttl: wrong('5') }),
    'save with a ttl that is none': () => orders.save({ status: 'open' }, { ttl: -5 }),
    replace: () => orders.replace('a', { status: wrong(true) }),
    'patch of a type': () => orders.patch('a', { set: { total: wrong('1') } }),
    'patch of a type below': () => orders.patch('a', { set: { at: wrong({ place: 1 }) } }),
    'patch by push': () => orders.patch('a', { push: wrong({ total: 1 }) }),
    'patch by no change': () => orders.patch('a', wrong({ sett: {} })),
  };
  await expect(calls[call]!()).rejects.toMatchObject({
    code: 'VALIDATION',
    message: `orders: ${message}`,
    component: 'collection:orders',
    details: { collection: 'orders', key },
  });
});

test('a fault of a schema names the collection and the path', async () => {
  const saving = storage.collection(Checked).save({ name: wrong(5), age: wrong('old') });
  await expect(saving).rejects.toMatchObject({
    code: 'VALIDATION',
    message: expect.stringMatching(/^checked: value\.name: .*string.*; value\.age: .*number/),
    details: { collection: 'checked', key: 'value', issues: [{ path: 'name' }, { path: 'age' }] },
  });
});

test('a fault in one of several names which', async () => {
  const items = [{ value: { status: 'open' } }, { value: { status: wrong(1) } }];
  await expect(storage.collection(Orders).saveMany(items)).rejects.toMatchObject({
    message: 'orders: items[1]: value.status: expected a string (as declared), or null, got a number',
    details: { collection: 'orders', item: 'items[1]', key: 'value.status' },
  });
  const numbered = storage.collection(Numbered);
  await expect(numbered.saveMany([{ id: 'x', value: { status: 'a' } }])).rejects.toMatchObject({
    message: expect.stringMatching(/^numbered: items\[0\]: id: expected a whole number from 1 to 2\^52/),
    details: { item: 'items[0]', key: 'id' },
  });
});

test('a key that there is not is told as one, whatever its value', async () => {
  const orders = storage.collection(Orders);
  const asked = orders.list(wrong({ limits: 5 }));
  await expect(asked).rejects.toThrow(
    'options.limits: expected one of signal, timeout, sort, limit, after, got an unknown key',
  );
  expect(() => defineCollection(wrong({ name: 'things', feilds: {} }))).toThrow(
    'collection.feilds: expected one of name, schema, fields, indexes, unique, text, id, got an unknown key',
  );
});

test('what is of the right type is told by what is wrong with it', async () => {
  const orders = storage.collection(Orders);
  await expect(orders.query({}, { limit: 5_000 })).rejects.toThrow(
    'limit: expected a whole number from 1 to 1000, got 5000',
  );
  await expect(orders.get('')).rejects.toThrow('id: expected at least one character, got an empty string');
  await expect(orders.list({ sort: { status: wrong('DESC') } })).rejects.toThrow("'asc' or 'desc', got another string");
  expect(() => storage.jobs.work({})).toThrow(
    'handler: expected an object of at least one function by the name of a job, got an object',
  );
});

async function countLate(): Promise<void> {
  await storage.collection(Orders).count({}, { timeout: 0.000_1 });
}

test('a time that is over names the operation, its collection and its limit, and its stack the caller', async () => {
  const error: unknown = await countLate().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: 'TIMEOUT',
    operation: 'count',
    message: expect.stringMatching(/^count of orders \(0\.0001 ms\): The deadline/),
    details: { collection: 'orders', timeout: 0.000_1 },
  });
  expect((error as Error).stack).toContain('countLate');
});

test('where the caller gave no time, what is over names the setting that did', async () => {
  const settings = { databases: { main: 'sqlite::memory:' }, lifecycle: { operationTimeout: 50 } };
  const hasty = await openStorage(settings, { environment: {} });
  await hasty.collection(Orders).count();
  const { passed, open } = gate();
  const begun = gate();
  const holding = hasty.transaction(
    async () => {
      begun.open();
      await passed;
    },
    { timeout: 60_000 },
  );
  await begun.passed;
  await expect(hasty.collection(Orders).count()).rejects.toMatchObject({
    code: 'TIMEOUT',
    message: expect.stringMatching(/^count of orders \(50 ms by lifecycle\.operationTimeout\): The deadline/),
    details: { collection: 'orders', timeout: 50 },
  });
  open();
  await holding;
  await hasty.close();
});

test('a quota names its setting', async () => {
  const values = ['a', 'b'].map((key) => ({ key, value: 'x'.repeat(600_000) }));
  await storage.kv.set('full', values[0]!.key, values[0]!.value);
  await expect(storage.kv.set('full', values[1]!.key, values[1]!.value)).rejects.toThrow(
    /namespace quota of 1048576 bytes \(600002 are used; the setting is kv\.namespaceQuotaBytes\)$/,
  );
  await expect(storage.kv.set('full', 'c', 1, wrong({ ttl: 5 }))).rejects.toThrow(
    'options.ttl: expected one of signal, timeout, ttlSeconds, got an unknown key',
  );
});

test('a unique constraint that is declared no more is told as one, and what takes it away', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'faults-'));
  const settings = { databases: { main: `sqlite:${join(directory, 'main.db')}` } };
  const named = { name: 'people', fields: { name: 'string' } } as const;
  const open = () => openStorage(settings, { environment: {} });
  {
    await using before = await open();
    await before
      .collection(defineCollection({ ...named, unique: [{ name: 'named', fields: ['name'] }] }))
      .save({ name: 'ann' });
  }
  {
    await using after = await open();
    const people = after.collection(defineCollection(named));
    await expect(people.save({ name: 'ann' })).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringMatching(
        /^Another record of people .* not declared here \(quartermaster_people_u_\w+\): .*settle/,
      ),
    });
    await after.settle(defineCollection(named));
    await people.save({ name: 'ann' });
  }
  await rm(directory, { recursive: true });
});

test('a database without vectors says which settings give it some', () => {
  expect(() => storage.vectors()).toThrow(
    expect.objectContaining({
      code: 'CONFIGURATION',
      message: expect.stringMatching(
        /database main .*vectors\.default.*vectors\.pgvector\.database.*vectors\.chroma\.url/,
      ),
    }),
  );
});
