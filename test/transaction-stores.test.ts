/** One transaction over stores, a collection and vectors: wholly there, or not at all and nothing told. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { defineCollection, openStorage, type Transaction } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { storageTargets } from './support/storage-targets.js';

const Notes = defineCollection<{ n: number }>({ name: 'whole_notes', id: 'given' });
const fault = new Error('changed my mind');
const targets = storageTargets('a transaction over stores').filter(({ transactions }) => transactions);

describe.each(targets)('a transaction over stores on $name', ({ vectors, prepare }) => {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  let told: string[] = [];
  let tenants = 0;
  const conversation = randomUUID();
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    storage = await openStorage({ databases: { main: prepared.url } }, { environment: {} });
    if (vectors) await storage.vectors().createCollection({ name: 'whole', dimension: 2 });
    storage.on('*', ({ type }) => told.push(type));
    // So that the tables are there: a first use runs the function again.
    await storage.tenant('warm').transaction((tx) => everywhere(tx));
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });

  const everywhere = async (tx: Transaction): Promise<void> => {
    await tx.tasks.create({ title: 'write' });
    await tx.conversations.addMessage(conversation, { role: 'user', content: 'hello' });
    await tx.kv.set('whole', 'k', 1);
    await tx.collection(Notes).insert({ n: 1 }, { id: 'a' });
    await tx.outbox.enqueue({ topic: 'whole', key: 'k', payload: 1 });
    if (vectors) await tx.vectors().upsert('whole', [{ id: 'a', vector: [1, 0] }]);
  };
  const counts = async (tenant: string): Promise<number[]> => {
    const of = storage.tenant(tenant);
    const { waiting } = await storage.outbox.backlog();
    const kept = await Promise.all([
      of.tasks.list().then(({ items }) => items.length),
      of.conversations.listConversations().then(({ items }) => items.length),
      of.kv.has('whole', 'k').then(Number),
      of.collection(Notes).count(),
      vectors ? of.vectors().count('whole') : 0,
    ]);
    return [...kept, waiting];
  };

  test('is wholly there after the commit, and its events are told then', async () => {
    const tenant = `whole${++tenants}`;
    const before = (await counts(tenant)).at(-1)!;
    told = [];
    await storage.tenant(tenant).transaction(async (tx) => {
      await everywhere(tx);
      expect(told).toEqual([]);
    });
    expect(await counts(tenant)).toEqual([1, 1, 1, 1, vectors ? 1 : 0, before + 1]);
    expect(told).toContain('task.created');
    expect(told.some((type) => type.startsWith('conversation.'))).toBe(true);
  });

  test('is not there at all after a rollback, and nothing is told; the same again works', async () => {
    const tenant = `whole${++tenants}`;
    const before = await counts(tenant);
    told = [];
    const work = storage.tenant(tenant).transaction(async (tx) => {
      await everywhere(tx);
      throw fault;
    });
    await expect(work).rejects.toBe(fault);
    expect(await counts(tenant)).toEqual(before);
    expect(told).toEqual([]);
    await storage.tenant(tenant).transaction(everywhere);
    expect(await counts(tenant)).toEqual([1, 1, 1, 1, vectors ? 1 : 0, before.at(-1)! + 1]);
  });

  test('a part of it that is undone leaves nothing, also when the same follows', async () => {
    const tenant = `whole${++tenants}`;
    const before = await counts(tenant);
    told = [];
    const hasParts = await storage.tenant(tenant).transaction(async (tx) => {
      const undone = tx.transaction(async (inner) => {
        await everywhere(inner);
        throw fault;
      });
      const error: unknown = await undone.catch((thrown: unknown) => thrown);
      if (error === fault) await everywhere(tx);
      else expect(error).toMatchObject({ code: 'UNSUPPORTED' });
      return error === fault;
    });
    const once = [1, 1, 1, 1, vectors ? 1 : 0, before.at(-1)! + 1];
    expect(await counts(tenant)).toEqual(hasParts ? once : before);
    expect(told.filter((type) => type === 'task.created')).toHaveLength(hasParts ? 1 : 0);
  });
});
