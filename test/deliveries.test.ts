/** What a transaction leaves for other databases and for vector services: done once after its commit, or never. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { defineCollection, openStorage, type StorageManager, type Transaction } from '../src/index.js';
import { DELIVERABLE } from '../src/delivery/stores.js';
import { redeliver } from './support/open-parts.js';
import { storageTargets } from './support/storage-targets.js';

const Orders = defineCollection<{ total: number; dueAt?: Date; title?: string }>({
  name: 'orders',
  id: 'given',
  fields: { dueAt: 'date' },
  text: ['title'],
});
const Numbered = defineCollection<{ total: number }>({ name: 'numbered', id: 'sequence' });

const SETTINGS = {
  stores: { default: 'main', conversations: 'side', kv: 'side', jobs: 'side', agents: 'side' },
  vectors: { default: 'memory', memory: { database: 'side' } },
};

const targets = storageTargets('deliveries').filter(({ transactions }) => transactions);

/** Until what was left is delivered: what it waits for is other work of this process. */
async function delivered(storage: StorageManager): Promise<void> {
  while ((await storage.outbox.backlog()).waiting > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

for (const target of targets)
  describe(`a transaction on ${target.name} and what it leaves for a database in memory`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      storage = await openStorage(
        { databases: { main: prepared.url, side: 'memory:' }, ...SETTINGS },
        { environment: {} },
      );
      await storage.vectors().createCollection({ name: 'docs', dimension: 2 });
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    /** One of each kind, under names that nothing else has. */
    async function leaveAll(tx: Transaction, id: string): Promise<void> {
      await tx.tasks.create({ title: id });
      await tx.deliver.conversations.addMessage(id, { content: 'hello' });
      await tx.deliver.kv.increment('counts', id, { delta: 3 });
      await tx.deliver.agents.saveState('ann', id, { since: new Date(0).toISOString() });
      const orders = tx.deliver.collection(Orders, { on: 'side' });
      await orders.save({ total: 1, dueAt: new Date(86_400_000) }, { id });
      await orders.patch(id, { increment: { total: 2 } });
      await tx.deliver.vectors().upsert('docs', [{ id, vector: [1, 0], metadata: { at: 'noon' } }]);
    }

    const there = async (id: string): Promise<unknown> => {
      const order = await storage.collection(Orders, { on: 'side' }).find(id);
      const count = await storage.kv.get('counts', id);
      const [vector] = await storage.vectors().fetch('docs', [id]);
      return [
        (await storage.tasks.search({ text: id })).count,
        (await storage.conversations.listMessages(id).catch(() => ({ items: [] }))).items.map(({ content }) => content),
        'value' in count ? count.value : undefined,
        (await storage.agents.findState('ann', id))?.state,
        order === undefined ? undefined : [order.version, order.value],
        vector?.metadata,
      ];
    };
    const NOTHING = [0, [], undefined, undefined, undefined, undefined];

    test('what takes several decisions is done once all of them are', async () => {
      const { jobs } = storage;
      const { id } = await jobs.create({ name: `many ${randomUUID()}` });
      await jobs.enqueueRuns(
        id,
        Array.from({ length: 400 }, () => ({})),
      );
      await storage.transaction((tx) => tx.deliver.jobs.transition(id, 'cancelled'));
      await delivered(storage);
      expect((await jobs.get(id)).status).toBe('cancelled');
      expect(await jobs.claimDue({ workerId: 'w', limit: 1_000 })).toEqual([]);
    });

    test('all of it is there after the commit, in its order', async () => {
      const id = randomUUID();
      await storage.transaction(async (tx) => {
        await leaveAll(tx, id);
        expect(await storage.kv.get('counts', id)).toMatchObject({ found: false });
      });
      await delivered(storage);
      expect(await there(id)).toEqual([
        1,
        ['hello'],
        3,
        { since: '1970-01-01T00:00:00.000Z' },
        [2, { total: 3, dueAt: new Date(86_400_000) }],
        { at: 'noon' },
      ]);
      await storage.transaction(async (tx) => {
        await tx.deliver.collection(Orders, { on: 'side' }).delete(id);
        await tx.deliver.kv.delete('counts', id);
        await tx.deliver.vectors().delete('docs', { ids: [id, 'never there'] });
      });
      await delivered(storage);
      expect((await there(id)) as unknown[]).toEqual([
        1,
        ['hello'],
        undefined,
        expect.anything(),
        undefined,
        undefined,
      ]);
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
    });

    test('nothing of it is when the transaction rolls back', async () => {
      const id = randomUUID();
      const failed = storage.transaction(async (tx) => {
        await leaveAll(tx, id);
        throw new Error('changed its mind');
      });
      await expect(failed).rejects.toThrow('changed its mind');
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
      expect(await there(id)).toEqual(NOTHING);
    });

    test("it is the tenant's", async () => {
      const id = randomUUID();
      await storage.tenant('acme').transaction((tx) => leaveAll(tx, id));
      await delivered(storage);
      expect(await there(id)).toEqual(NOTHING);
      expect(await storage.tenant('acme').kv.get('counts', id)).toMatchObject({ value: 3 });
      expect(await storage.tenant('acme').collection(Orders, { on: 'side' }).has(id)).toBe(true);
    });

    test('what is refused at its delivery is a dead letter, told of, and can be dropped', async () => {
      const told: unknown[] = [];
      const stop = storage.on('error', (error) => told.push(error.details['topic']));
      const id = randomUUID();
      await storage.collection(Orders, { on: 'side' }).insert({ total: 1 }, { id });
      await storage.transaction((tx) => tx.deliver.collection(Orders, { on: 'side' }).insert({ total: 2 }, { id }));
      await delivered(storage);
      // The relay tells when it knows of it, which others may see before.
      while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      stop();
      expect(told).toEqual(['deliver.records']);
      const { items } = await storage.outbox.list({ state: 'dead' });
      expect(items).toMatchObject([
        { topic: 'deliver.records', attempts: 1, error: expect.stringContaining('ALREADY_EXISTS: orders') },
      ]);
      await storage.outbox.drop(items[0]!);
      expect(await storage.collection(Orders, { on: 'side' }).get(id)).toMatchObject({ value: { total: 1 } });
    });

    test('a call that is not awaited is refused with everything else', async () => {
      const id = randomUUID();
      const failed = storage.transaction(async (tx) => {
        await tx.tasks.create({ title: id });
        void tx.deliver.kv.set('counts', id, 1);
      });
      await expect(failed).rejects.toMatchObject({ code: 'VALIDATION', details: { operations: ['deliver'] } });
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
      expect(await there(id)).toEqual(NOTHING);
    });

    test('what is bad input is refused at once, and nothing is left', async () => {
      const circular: { self?: unknown } = {};
      circular.self = [circular];
      let deep: unknown[] = [];
      for (let i = 0; i < 20_000; i++) deep = [deep];
      const wrong: ((tx: Transaction) => Promise<unknown>)[] = [
        (tx) => tx.deliver.kv.set('counts', 'k', circular),
        (tx) => tx.deliver.kv.set('counts', 'k', deep),
        (tx) => tx.deliver.vectors().upsert('docs', [{ id: 'x', vector: [1, 0], metadata: circular as never }]),
        (tx) => tx.deliver.kv.set('counts', '', 1),
        (tx) => tx.deliver.kv.set('counts', 'k', () => 1),
        (tx) => tx.deliver.kv.set('counts', 'k', 1n),
        // @ts-expect-error It is made after the commit.
        (tx) => tx.deliver.kv.delete('counts', 'k', { ifVersion: 1 }),
        // @ts-expect-error Nobody waits for it.
        (tx) => tx.deliver.kv.set('counts', 'k', 1, { signal: AbortSignal.timeout(1_000) }),
        (tx) => tx.deliver.conversations.addMessage('no uuid', { content: 'x' }),
        (tx) => tx.deliver.conversations.addMessage(randomUUID(), { content: 'x', role: 7 } as never),
        (tx) => tx.deliver.collection(Orders, { on: 'side' }).save({ total: 1 }, {} as never),
        (tx) => tx.deliver.collection(Orders, { on: 'side' }).save({ total: 1, dueAt: 'noon' as never }, { id: 'x' }),
        (tx) => tx.deliver.collection(Orders, { on: 'side' }).replace('x', { total: 1 }, { ifVersion: 1 } as never),
        (tx) => tx.deliver.collection(Orders, { on: 'side' }).patch('x', {}, { if: { total: 1 } } as never),
        async (tx) => tx.deliver.collection(Orders, { on: 'elsewhere' }),
        (tx) => tx.deliver.vectors().upsert('docs', [{ id: 'x', vector: [1, 0, 0] }]),
        (tx) => tx.deliver.vectors().upsert('docs', [{ id: '', vector: [1, 0] }]),
        (tx) => tx.deliver.vectors().upsert('docs', 'x' as never),
        (tx) => tx.deliver.vectors().delete('docs', { filter: { at: 'noon' } } as never),
        (tx) => tx.deliver.vectors().delete('docs', { ids: [''] }),
        (tx) => tx.deliver.vectors().delete('docs', { ids: ['x'] }, { namespace: 5 as never }),
        (tx) => tx.deliver.vectors().delete('docs', { ids: ['x'] }, { namespace: 'x'.repeat(5_000) }),
        (tx) => tx.deliver.vectors().delete('docs', { ids: ['x'] }, { namespaces: 'x' } as never),
        (tx) => tx.deliver.vectors().delete('docs', { ids: ['x'] }, null as never),
      ];
      for (const [i, call] of wrong.entries())
        expect([i, await storage.transaction(call).catch((error: { code: string }) => error.code)]).toEqual([
          i,
          'VALIDATION',
        ]);
      for (const call of [
        (tx: Transaction) => tx.deliver.vectors().upsert('absent', []),
        (tx: Transaction) => tx.deliver.vectors().delete('absent', { ids: ['x'] }),
      ])
        await expect(storage.transaction(call)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      const unsupported: ((tx: Transaction) => Promise<unknown>)[] = [
        async (tx) => tx.deliver.collection(Numbered, { on: 'side' }),
        (tx) => tx.deliver.collection(Orders, { on: 'side' }).patch('x', { set: { title: 'searched' } }),
      ];
      for (const call of unsupported)
        await expect(storage.transaction(call)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
    });
  });

for (const target of targets)
  test(`a message that is delivered again changes nothing, delivered to ${target.name}`, async () => {
    const { url, drop } = await target.prepare();
    const databases = { main: 'memory:', side: url };
    const settings = { ...SETTINGS, databases, vectors: { default: 'memory', memory: { database: 'main' } } };
    const storage = await openStorage(
      { ...settings, outbox: { deliver: false }, kv: { globalQuotaBytes: 1_000 }, events: { outbox: true } },
      { environment: {} },
    );
    const id = randomUUID();
    const task = await storage.agents.saveState('ann', id, { n: 0 });
    const messages = await redeliver(storage, async (tx) => {
      await tx.deliver.kv.increment('counts', id);
      await tx.deliver.agents.saveState('ann', id, { n: 1 });
      await tx.deliver.conversations.addMessage(id, { content: 'once' });
      await tx.deliver.conversations.archiveConversation(id);
      await tx.deliver.conversations.unarchiveConversation(id);
      await tx.deliver.collection(Orders, { on: 'side' }).insert({ total: 1 }, { id });
      await tx.deliver.collection(Orders, { on: 'side' }).patch(id, { increment: { total: 1 } });
    });
    for (let i = 0; i < 2; i++) for (const deliver of messages) await deliver(1);
    await Promise.all(messages.map((deliver) => deliver(1)));
    expect(await storage.kv.get('counts', id)).toMatchObject({ value: 1 });
    expect(await storage.agents.getState('ann', id)).toMatchObject({ version: task.version + 1, state: { n: 1 } });
    expect((await storage.conversations.listMessages(id)).items).toHaveLength(1);
    expect(await storage.conversations.getConversation(id)).toMatchObject({ version: 3 });
    expect(await storage.collection(Orders, { on: 'side' }).get(id)).toMatchObject({
      version: 2,
      value: { total: 2 },
    });
    await storage.close();
    await drop();
  });

for (const target of targets)
  test(`a message that is delivered again changes nothing, left on ${target.name}`, async () => {
    const { url, drop } = await target.prepare();
    const databases = { main: url, side: 'memory:' };
    const storage = await openStorage({ databases, ...SETTINGS, outbox: { deliver: false } }, { environment: {} });
    const id = randomUUID();
    const messages = await redeliver(storage, async (tx) => {
      await tx.deliver.kv.increment('counts', id);
      await tx.deliver.conversations.addMessage(id, { content: 'once' });
      await tx.deliver.kv.set('counts', `${id} set`, 1);
      await tx.deliver.kv.delete('counts', `${id} kept`);
      await tx.deliver.collection(Orders, { on: 'side' }).insert({ total: 1 }, { id });
      await tx.deliver.collection(Orders, { on: 'side' }).patch(id, { increment: { total: 1 } });
      await tx.deliver.collection(Orders, { on: 'side' }).delete(`${id} kept`);
    });
    for (const deliver of messages) await deliver(1);
    await storage.collection(Orders, { on: 'side' }).insert({ total: 7 }, { id: `${id} kept` });
    await storage.kv.set('counts', `${id} set`, 'later');
    await storage.kv.set('counts', `${id} kept`, 'later');
    // A relay that takes over counts its own attempts: that it was delivered, only the mark tells.
    for (const attempt of [1, 2]) for (const deliver of messages) await deliver(attempt);
    // Two at once, as when a lease was lost.
    await Promise.all(messages.map((deliver) => deliver(1)));
    expect(await storage.kv.getMany('counts', [id, `${id} set`, `${id} kept`])).toMatchObject([
      { value: 1 },
      { value: 'later' },
      { value: 'later' },
    ]);
    expect((await storage.conversations.listMessages(id)).items).toHaveLength(1);
    expect(await storage.collection(Orders, { on: 'side' }).get(id)).toMatchObject({
      version: 2,
      value: { total: 2 },
    });
    expect(await storage.collection(Orders, { on: 'side' }).get(`${id} kept`)).toMatchObject({ value: { total: 7 } });
    await storage.close();
    await drop();
  });

describe('every operation that is delivered', () => {
  const id = '01890000-0000-7000-8000-000000000001';
  const other = '01890000-0000-7000-8000-000000000002';
  /** Arguments that each takes. */
  const CALLS: { readonly [N in keyof typeof DELIVERABLE]: Record<string, readonly unknown[]> } = {
    agents: { saveState: ['ann', 'k', {}], restoreState: ['ann', 'k', 1], deleteState: ['ann', 'k'] },
    conversations: {
      addMessage: [id, { content: 'x' }],
      editMessage: [id, other, { content: 'y' }],
      deleteMessage: [id, other],
      restoreMessage: [id, other],
      renameConversation: [id, 'x'],
      archiveConversation: [id],
      unarchiveConversation: [id],
      upsertUserProfile: ['ann', {}],
    },
    jobs: {
      create: [{ name: 'x' }],
      update: [id, { description: 'x' }],
      transition: [id, 'cancelled'],
      upsertSchedule: [id, { expression: '@daily' }],
      pauseSchedule: [id],
      resumeSchedule: [id],
      enqueueRun: [id, { runAt: new Date(0) }],
      cancelRun: [id],
      rerun: [id],
      recordEvent: [id, { eventType: 'noted' }],
    },
    kv: {
      set: ['n', 'k', 1],
      delete: ['n', 'k'],
      touch: ['n', 'k', 1],
      persist: ['n', 'k'],
      increment: ['n', 'k'],
    },
    tasks: {
      create: [{ title: 'x', dueAt: new Date(0) }],
      update: [id, { title: 'x' }],
      transition: [id, 'done'],
      addDependency: [id, other],
      removeDependency: [id, other],
      assign: [id, other],
      respond: [id, other, 'accepted'],
      completeAssignment: [id, other],
      comment: [id, { text: 'x' }],
      recordEvent: [id, { eventType: 'noted' }],
    },
  };

  test('is left with its arguments, and nothing else is done', async () => {
    const stores = { default: 'main', conversations: 'side', kv: 'side', jobs: 'side', agents: 'side', tasks: 'side' };
    await using storage = await openStorage(
      { databases: { main: 'memory:', side: 'memory:' }, stores, outbox: { deliver: false } },
      { environment: {} },
    );
    for (const [name, operations] of Object.entries(DELIVERABLE))
      for (const operation of operations) {
        const args = CALLS[name as keyof typeof CALLS][operation];
        const left = await storage.transaction(async (tx) => {
          const store = tx.deliver[name as keyof typeof CALLS] as unknown as Record<
            string,
            (...args: unknown[]) => Promise<{ id: string }>
          >;
          return store[operation]!(...args!);
        });
        expect([name, operation, typeof left.id]).toEqual([name, operation, 'string']);
      }
    expect(await storage.outbox.backlog()).toMatchObject({
      waiting: Object.values(DELIVERABLE).flat().length,
    });
  });
});
