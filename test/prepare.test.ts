/** Tables that are made before they are used, and what is checked then. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type PrepareOptions, type StorageManager } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';
import { useStorage } from './support/use-storage.js';

const Orders = defineCollection<{ total: number }>({ name: 'orders', fields: { total: 'number' } });
const Notes = defineCollection<{ text: string }>({ name: 'notes' });
const Bills = defineCollection<{ total: number }>({ name: 'bills', id: 'sequence' });
const STORES = ['agents', 'conversations', 'jobs', 'kv', 'tasks', 'outbox'] as const;

/** How often a function runs that uses nearly all there is. */
async function runsOf(storage: StorageManager): Promise<number> {
  let runs = 0;
  await storage.transaction(async (tx) => {
    runs++;
    await tx.collection(Orders).save({ total: 1 });
    await tx.collection(Bills).save({ total: 1 });
    await tx.kv.set('space', 'key', 1);
    await tx.tasks.create({ title: 'pack' });
    await tx.conversations.addMessage(crypto.randomUUID(), { role: 'user', content: 'hello' });
    await tx.agents.saveState('agent', 'key', {});
    await tx.jobs.create({ name: 'job' });
    await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: {} });
  });
  return runs;
}

describe.each(storageTargets('preparing'))('preparing on $name', ({ prepare, patient, transactions }) => {
  const open = useStorage({ prepare, patient }, { tenancy: 'required' });

  test('makes what a first use would, for every tenant: no function of a transaction runs again', async () => {
    const storage = open();
    await storage.prepare([Orders, Notes, Bills], { stores: STORES });
    await storage.prepare([Orders], { stores: ['kv'] });
    const tenant = storage.tenant('ann');
    if (transactions) {
      expect(await runsOf(tenant as unknown as StorageManager)).toBe(1);
      expect(await runsOf(storage.tenant('bob') as unknown as StorageManager)).toBe(1);
    }
    expect(await tenant.collection(Orders).count()).toBe(transactions ? 1 : 0);
    expect(await tenant.collection(Notes).count()).toBe(0);
    expect((await tenant.tasks.list()).items).toHaveLength(transactions ? 1 : 0);
  });
});

test('what is not prepared makes a function run again', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  expect(await runsOf(storage)).toBeGreaterThan(1);
});

test('tells what does not fit, when all else is made', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'prepare-'));
  const settings = { databases: { main: `sqlite:${join(directory, 'main.db')}` } };
  {
    await using before = await openStorage(settings, { environment: {} });
    for (const total of [1, 1]) await before.collection(Orders).save({ total });
  }
  {
    await using after = await openStorage(settings, { environment: {} });
    const unique = [{ name: 'one', fields: ['total'] as const }];
    const Strict = defineCollection<{ total: number }>({ name: 'orders', fields: { total: 'number' }, unique });
    await expect(after.prepare([Strict, Notes], { stores: ['kv'] })).rejects.toMatchObject({
      code: 'MIGRATION',
      message: expect.stringContaining('unique constraint one'),
    });
    const tables = after
      .sql<{ prepare: (text: string) => { all: () => { name: string }[] } }>()
      .prepare('SELECT name FROM sqlite_schema')
      .all()
      .map(({ name }) => name);
    expect(tables).toEqual(expect.arrayContaining(['quartermaster_notes', 'quartermaster_qm_kv']));
  }
  await rm(directory, { recursive: true });
});

test.each<[unknown, unknown, string]>([
  [Orders, {}, 'collections: expected an array of what defineCollection gives, got an object'],
  [['orders'], {}, 'collection: expected what defineCollection gives, got a string'],
  [
    [],
    { stores: 'kv' },
    'options.stores: expected an array of agents, conversations, jobs, kv, tasks, outbox, got a string',
  ],
  [
    [],
    { stores: ['cache'] },
    'options.stores[0]: expected one of agents, conversations, jobs, kv, tasks, outbox, got another string',
  ],
  [[], { store: ['kv'] }, 'options.store: expected one of on, stores, signal, timeout, got an unknown key'],
  [[Orders], { timeout: 0 }, 'timeout: expected a number of milliseconds above 0, got 0'],
  [[Orders], { on: 'side' }, 'No database "side" in the settings; known: main'],
])('refuses %p with %p before anything is made', async (collections, options, message) => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const prepared = storage.prepare(collections as never, options as PrepareOptions);
  await expect(prepared).rejects.toMatchObject({ code: 'VALIDATION', message });
});
