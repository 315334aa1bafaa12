/** Durable subscriptions: every event of a store in the order of its aggregate, at least once, and none of what was rolled back. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager, type StoreEvent, type TenantStorage } from '../../src/index.js';
import { databaseOf } from '../support/open-parts.js';
import { storageTargets } from '../support/storage-targets.js';

const HERE = storageTargets('subscriptions');

/** What each store does, and the aggregates of which its events are. */
async function work(of: Pick<TenantStorage, 'tasks' | 'conversations' | 'agents'>, name: string): Promise<string[]> {
  const { tasks, conversations, agents } = of;
  const task = await tasks.create({ title: name, status: 'ready' });
  const before = await tasks.create({ title: `${name} before` });
  await tasks.addDependency(task.id, before.id);
  await tasks.transition(before.id, 'cancelled');
  await tasks.transition(task.id, 'in_progress');
  await tasks.comment(task.id, { text: 'begun' });
  const conversation = randomUUID();
  const message = await conversations.addMessage(conversation, {
    content: name,
    user: 'ann',
    events: [{ type: 'own' }],
  });
  await conversations.editMessage(conversation, message.id, { content: 'edited' });
  await conversations.renameConversation(conversation, name);
  await conversations.deleteMessage(conversation, message.id);
  const agent = `agent ${name}`;
  await agents.saveState(agent, 'a', { x: 1 });
  await agents.saveState(agent, 'b', { x: 2 });
  await agents.deleteState(agent, 'a');
  return [task.id, before.id, conversation, agent];
}

for (const target of HERE.filter(({ transactions }) => !transactions))
  test(`subscriptions: refused on ${target.name}, which has no transactions`, async () => {
    const { url, drop } = await target.prepare();
    const settings = { databases: { main: url }, events: { outbox: true } };
    const storage = await openStorage(settings, { environment: {} });
    const unsupported = { code: 'UNSUPPORTED' };
    await expect(storage.subscribe('noting', async () => undefined)).rejects.toMatchObject(unsupported);
    await expect(storage.unsubscribe('noting')).rejects.toMatchObject(unsupported);
    const { conversations, tasks, agents } = storage;
    // What tells no events needs no transaction; what tells some is refused, and writes nothing.
    const user = await conversations.ensureUser('ann');
    expect(await conversations.ensureSession('web', { userId: user.id })).toMatchObject({ userId: user.id });
    expect(await tasks.retain({ taskDays: 1 }, { dryRun: true })).toMatchObject({ tasks: 0 });
    await expect(tasks.create({ title: 'a' })).rejects.toMatchObject(unsupported);
    await expect(agents.saveState('a', 'k', {})).rejects.toMatchObject(unsupported);
    expect((await tasks.list()).items).toEqual([]);
    await storage.close();
    await drop();
  });

for (const target of HERE.filter(({ transactions }) => transactions))
  describe(`subscriptions on ${target.name}`, () => {
    let storage: StorageManager;
    let url: string;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      ({ url, drop } = prepared);
      const settings = { databases: { main: prepared.url }, events: { outbox: true } };
      storage = await openStorage(settings, { environment: {} });
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    test('all of them are delivered in order, by tenant, and those rolled back never', async () => {
      const seen = new Map<string, StoreEvent[]>();
      let wake = (): void => undefined;
      const note = (told: unknown): Promise<void> => {
        const event = told as StoreEvent;
        expect(event.createdAt).toBeInstanceOf(Date);
        const place = `${event.tenantId} ${event.aggregateId}`;
        seen.set(place, [...(seen.get(place) ?? []), event]);
        wake();
        return Promise.resolve();
      };
      const subscription = await storage.subscribe('all', note, { poll: 20 });
      const names = [randomUUID(), randomUUID()];
      const told = new Map<string, string[]>();
      for (const name of names) {
        const tenant = storage.tenant(name);
        const alone = await work(tenant, 'alone');
        const together = await tenant.transaction((tx) => work(tx, 'together'));
        const undone: string[] = [];
        const failing = tenant.transaction(async (tx) => {
          undone.push(...(await work(tx, 'undone')));
          await tx.tasks.comment(alone[0]!, { text: 'undone' });
          throw new Error('no');
        });
        await expect(failing).rejects.toThrow('no');
        expect(undone).toHaveLength(4);
        // Its last event, and the only one that stays where it was deleted.
        await tenant.tasks.delete(together[0]!);
        await tenant.conversations.deleteConversation(together[2]!);
        for (const id of [...alone, ...together]) {
          // A host's own name is no id of a task or a conversation.
          const stores = id.startsWith('agent ')
            ? [tenant.agents]
            : [tenant.tasks, tenant.conversations, tenant.agents];
          const kept = (await Promise.all(stores.map((store) => store.listEvents(id)))).flat();
          told.set(
            `${name} ${id}`,
            kept.map((event) => event.id),
          );
        }
        for (const id of undone.slice(0, 3)) expect(await tenant.tasks.listEvents(id)).toEqual([]);
      }
      const deleted = [...told].filter(([, ids]) => ids.length < 2).map(([place]) => place);
      expect(deleted).toHaveLength(2 * names.length);
      const isDone = (): boolean =>
        [...told].every(([place, ids]) => {
          const got = seen.get(place) ?? [];
          return deleted.includes(place) ? got.at(-1)?.type.endsWith('.deleted') : got.length >= ids.length;
        });
      await new Promise<void>((resolve) => {
        wake = () => (isDone() ? resolve() : undefined);
        wake();
      });
      await subscription.stop();
      // Nothing else waits to be delivered.
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
      expect([...seen.keys()].sort()).toEqual([...told.keys()].sort());
      for (const [place, events] of seen) {
        const seqs = events.map(({ seq }) => seq);
        expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
        expect(new Set(seqs).size).toBe(seqs.length);
        if (!deleted.includes(place)) expect(events.map(({ id }) => id)).toEqual(told.get(place));
        else expect(events.length).toBeGreaterThan(4);
      }
      await storage.unsubscribe('all');
    });

    test('what happens while nobody is there waits; each name gets all of its own; processes share a name', async () => {
      const settings = { databases: { main: url }, events: { outbox: true } };
      const other = target.server ? await openStorage(settings, { environment: {} }) : storage;
      const told: string[] = [];
      const waiters: (() => void)[] = [];
      const until = (count: number): Promise<void> =>
        new Promise((resolve) => {
          const check = (): void => (told.length >= count ? resolve() : undefined);
          waiters.push(check);
          check();
        });
      const note =
        (who: string) =>
        async ({ type, aggregateId }: { readonly type: string; readonly aggregateId: string }): Promise<void> => {
          told.push(`${who} ${type} ${aggregateId}`);
          for (const check of waiters) check();
        };
      const { tasks } = storage.tenant('acme');
      await tasks.create({ title: 'before anybody' });
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
      const options = { types: ['task.created'], poll: 20 } as const;
      const created = await storage.subscribe('created', note('a'), options);
      const everything = await storage.subscribe('everything', note('b'), { stores: ['tasks'], poll: 20 });
      const task = await tasks.create({ title: 'one' });
      await until(2);
      await tasks.transition(task.id, 'cancelled');
      await until(3);
      expect(told.splice(0).sort()).toEqual(
        ['a task.created', 'b task.created', 'b task.status_changed'].map((what) => `${what} ${task.id}`),
      );
      await created.stop();
      await everything.stop();
      expect(created.status()).toEqual({ state: 'stopped', inFlight: 0, delivered: 1, failed: 0, dead: 0 });
      // Nobody is there, and its process may be another one afterwards.
      const ids: string[] = [];
      for (const title of ['two', 'three', 'four']) ids.push((await tasks.create({ title })).id);
      const again = await Promise.all([
        storage.subscribe('created', note('a'), options),
        other.subscribe('created', note('a'), options),
      ]);
      await until(3);
      await Promise.all(again.map((subscription) => subscription.stop()));
      expect(told.splice(0).sort()).toEqual(ids.map((id) => `a task.created ${id}`).sort());
      expect(await storage.outbox.backlog()).toMatchObject({ waiting: 3, dead: 0 });
      await storage.unsubscribe('everything');
      await storage.unsubscribe('everything');
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
      await tasks.create({ title: 'five' });
      const { items } = await storage.outbox.list();
      expect(items.map(({ topic }) => topic)).toEqual(['subscription.created']);
      await storage.unsubscribe('created');
      expect(await storage.outbox.list()).toEqual({ items: [] });
      if (other !== storage) await other.close();
    });

    test('an event whose handler fails is delivered again, before the later ones of its aggregate', async () => {
      const told: string[] = [];
      let fails = 2;
      let done = (): void => undefined;
      const ended = new Promise<void>((resolve) => (done = resolve));
      const handler = async ({ type }: { readonly type: string }): Promise<void> => {
        told.push(type);
        if (fails-- > 0) throw new Error('no');
        if (type === 'task.status_changed') done();
      };
      await using subscription = await storage.subscribe('failing', handler, {
        types: ['task.created', 'task.status_changed'],
        poll: 5,
        backoff: { base: 1, max: 1 },
      });
      const { tasks } = storage.tenant('acme');
      const { id } = await tasks.create({ title: 'one' });
      await tasks.transition(id, 'cancelled');
      await ended;
      await subscription.stop();
      expect(told).toEqual(['task.created', 'task.created', 'task.created', 'task.status_changed']);
      await storage.unsubscribe('failing');
    });

    test.each([
      ['a malformed name', 'No name', async () => undefined, {}],
      ['no handler', 'noting', undefined, {}],
      ['an unknown store', 'noting', async () => undefined, { stores: ['kv'] }],
      ['no types', 'noting', async () => undefined, { types: [] }],
      ['a malformed type', 'noting', async () => undefined, { types: ['created'] }],
      ['an unknown option', 'noting', async () => undefined, { topics: ['a'] }],
      ['a database', 'noting', async () => undefined, { on: 'main' }],
      ['a handler by topic', 'noting', async () => undefined, { handlers: { mail: () => undefined } }],
      ['options that are none', 'noting', async () => undefined, null],
    ])('%s is refused', async (_case, name, handler, options) => {
      await expect(storage.subscribe(name, handler as never, options as never)).rejects.toMatchObject({
        code: 'VALIDATION',
      });
    });
  });

test('without the setting events.outbox there are no subscriptions', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  await expect(storage.subscribe('noting', async () => undefined)).rejects.toMatchObject({
    code: 'CONFIGURATION',
    details: { key: 'events.outbox' },
  });
});

test('there are at most 1,000 names, and those that are there stay usable', async () => {
  const settings = { databases: { main: 'memory:' }, events: { outbox: true } };
  await using storage = await openStorage(settings, { environment: {} });
  await (await storage.subscribe('first', async () => undefined)).stop();
  const context = { now: new Date(), deadline: performance.now() + 60_000 };
  const collection = { name: 'qm_subscriptions', fields: new Map(), indexes: [], unique: [], text: [] };
  const value = { prefixes: ['task'] };
  const others = Array.from({ length: 999 }, (_, i) => ({ collection, id: `other${i}`, kind: 'put', value }) as const);
  await databaseOf(storage).backend.write({ tenant: 'quartermaster' }, others, context);
  await expect(storage.subscribe('one-more', async () => undefined)).rejects.toMatchObject({
    code: 'QUOTA_EXCEEDED',
    details: { limit: 1_000 },
  });
  await (await storage.subscribe('first', async () => undefined, { types: ['task.created'] })).stop();
  await storage.tasks.create({ title: 'told to all' });
  expect(await storage.outbox.backlog()).toMatchObject({ waiting: 1_000 });
});

test('stores on several databases are one subscription, and what it wants no more is given up', async () => {
  const settings = {
    databases: { main: 'memory:', other: 'memory:' },
    stores: { default: 'main', tasks: 'other' },
    events: { outbox: true },
  };
  await using storage = await openStorage(settings, { environment: {} });
  const told: string[] = [];
  let done = (): void => undefined;
  const ended = new Promise<void>((resolve) => (done = resolve));
  const subscription = await storage.subscribe('both', async ({ type }) => {
    if (told.push(type) === 2) done();
  });
  await storage.tasks.create({ title: 'one' });
  await storage.agents.saveState('a', 'b', { x: 1 });
  await ended;
  await subscription.stop();
  expect(told.sort()).toEqual(['agent.state_saved', 'task.created']);
  await storage.tasks.create({ title: 'two' });
  expect(await storage.outbox.backlog({ on: 'other' })).toMatchObject({ waiting: 1 });
  const narrowed = await storage.subscribe('both', async () => undefined, { stores: ['agents'] });
  expect(await storage.outbox.backlog({ on: 'other' })).toMatchObject({ waiting: 0 });
  await storage.tasks.create({ title: 'three' });
  expect(await storage.outbox.backlog({ on: 'other' })).toMatchObject({ waiting: 0 });
  await narrowed.stop();
});
