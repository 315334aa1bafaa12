/** Subscriptions of several processes and databases: what reaches whom, and what is left where one cannot be reached. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager } from '../../src/index.js';
import { jsonBytes } from '../../src/backends/value.js';
import { ALL } from '../../src/filter/syntax.js';
import { LANES } from '../../src/unit-of-work/outbox/records.js';
import { settled } from '../support/manual-clock.js';
import { databaseOf } from '../support/open-parts.js';
import { emptied } from '../support/outbox.js';
import { storageTargets } from '../support/storage-targets.js';
import { Tally } from '../support/tally.js';
import { useTwoStorages } from '../support/use-storage.js';

const HERE = storageTargets('shared subscriptions').filter(({ transactions }) => transactions);
const OUTBOX = { events: { outbox: true } };
const UNHURRIED = 120_000;

const context = () => ({ now: new Date(), deadline: performance.now() + 60_000 });

/** Whether so many lanes were given back for another process. */
async function haveRested(storage: StorageManager, count: number): Promise<boolean> {
  const request = { collection: LANES, filter: ALL, sort: [], limit: 100 };
  const lanes = await databaseOf(storage).backend.find('all', request, context());
  return lanes.filter(({ value }) => Number(value['rests']) > 0).length === count;
}

for (const target of HERE)
  describe(`shared subscriptions on ${target.name}`, () => {
    const storages = useTwoStorages(target, OUTBOX);

    test(
      'an event reaches only a process that asked for it, at its first attempt, in its order',
      async () => {
        const [old, recent] = storages();
        const told = { old: new Tally<string>(), recent: new Tally<string>() };
        const attempts = new Set<number>();
        const failures: unknown[] = [];
        const options = { poll: 20, backoff: { base: 1, max: 20 }, maxAttempts: 2 };
        const first = await old.subscribe('board', ({ type }) => told.old.add(type), {
          ...options,
          types: ['task.created'],
          onFailure: (failure) => failures.push(failure),
        });
        const { tasks } = old.tenant('acme');
        const ids: string[] = [];
        // Alone it leaves what the latest call wants and it does not.
        const second = await recent.subscribe('board', () => undefined, {
          ...options,
          types: ['task.created', 'task.updated'],
        });
        await second.stop();
        for (let i = 0; i < 5; i++) {
          const { id } = await tasks.create({ title: 'x' });
          await tasks.update(id, { title: 'y' });
          ids.push(id);
        }
        await told.old.until(5);
        while (!(await haveRested(old, 5))) await settled();
        const third = await recent.subscribe(
          'board',
          ({ type, aggregateId }, { attempt }) => {
            attempts.add(attempt);
            told.recent.add(`${type} ${aggregateId}`);
          },
          { ...options, types: ['task.created', 'task.updated'] },
        );
        await told.recent.until(5);
        await emptied(old);
        await Promise.all([first.stop(), third.stop()]);
        expect(told.old.seen).toEqual(Array.from({ length: 5 }, () => 'task.created'));
        expect([...told.recent.seen].sort()).toEqual(ids.map((id) => `task.updated ${id}`).sort());
        expect([...attempts]).toEqual([1]);
        expect(failures).toEqual([]);
        expect(first.status()).toMatchObject({ failed: 0, dead: 0 });
        await old.unsubscribe('board');
      },
      UNHURRIED,
    );

    test(
      'what the latest call wants no more reaches nobody, and does not stay',
      async () => {
        const [storage] = storages();
        const wide = await storage.subscribe('narrowed', () => undefined, { stores: ['tasks'] });
        await wide.stop();
        const { tasks } = storage.tenant('acme');
        const { id } = await tasks.create({ title: 'x' });
        await tasks.update(id, { title: 'y' });
        const told = new Tally<string>();
        const narrow = await storage.subscribe('narrowed', ({ type }) => told.add(type), {
          types: ['task.updated'],
          poll: 20,
        });
        await told.until(1);
        await emptied(storage);
        await narrow.stop();
        expect(told.seen).toEqual(['task.updated']);
        await storage.unsubscribe('narrowed');
      },
      UNHURRIED,
    );
  });

test('the same id of two tenants is told apart by the idempotency key', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' }, ...OUTBOX }, { environment: {} });
  const told = new Tally<readonly [string, string, string, number]>();
  let fails = true;
  await using _subscription = await storage.subscribe(
    'board',
    ({ id, tenantId }, { idempotencyKey, attempt, token, signal }) => {
      told.add([id, tenantId, idempotencyKey, attempt]);
      expect(token).toBeGreaterThan(0);
      expect(signal.aborted).toBe(false);
      if (fails && tenantId === 'acme') {
        fails = false;
        throw new Error('no');
      }
    },
    { poll: 5, backoff: { base: 1, max: 1 } },
  );
  for (const tenant of ['acme', 'globex']) await storage.tenant(tenant).agents.saveState('planner', 'goal', { tenant });
  await told.until(3);
  expect(new Set(told.seen.map(([id]) => id)).size).toBe(1);
  const keys = (tenant: string): unknown[] => told.seen.filter(([, of]) => of === tenant).map(([, , key]) => key);
  const [acme, globex] = [keys('acme'), keys('globex')];
  expect(acme).toEqual([acme[0], acme[0]]);
  expect(globex).toHaveLength(1);
  expect(globex[0]).not.toBe(acme[0]);
});

describe('where a database is down', () => {
  const settings = {
    databases: { main: 'memory:', far: { url: 'postgresql://nobody@127.0.0.1:1/nowhere', critical: false } },
    stores: { default: 'main', agents: 'far' },
    ...OUTBOX,
  };
  const open = (): Promise<StorageManager> => openStorage(settings, { environment: {} });

  test('a subscription that cannot be made is on none of them', async () => {
    await using storage = await open();
    await expect(storage.subscribe('board', () => undefined)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await storage.tasks.create({ title: 'x' });
    expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
  });

  test('it is ended on the others', async () => {
    await using storage = await open();
    const collection = { name: 'qm_subscriptions', fields: new Map(), indexes: [], unique: [], text: [] };
    const before = { collection, id: 'board', kind: 'put', value: { prefixes: ['task'] } } as const;
    await databaseOf(storage).backend.ensure([collection], context());
    await databaseOf(storage).backend.write({ tenant: 'quartermaster' }, [before], context());
    await storage.tasks.create({ title: 'x' });
    expect(await storage.outbox.backlog()).toMatchObject({ waiting: 1 });
    await expect(storage.unsubscribe('board')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
  });
});

test.each([
  ['no type of agents', { types: ['agent.state_savd'] }, 'options.types[0]'],
  ['no type of conversations', { types: ['task.created', 'conversation.mesage'] }, 'options.types[1]'],
  ['of a store that is not wanted', { stores: ['tasks'], types: ['task.created', 'job.created'] }, 'options.types'],
])('a type that can never come is refused: %s', async (_case, options, key) => {
  await using storage = await openStorage({ databases: { main: 'memory:' }, ...OUTBOX }, { environment: {} });
  await expect(storage.subscribe('board', () => undefined, options as never)).rejects.toMatchObject({
    code: 'VALIDATION',
    details: { key },
  });
});

test.each(['agent.state_savd', 'conversation.mesage'])('no listener hears of %s, and it is refused', async (type) => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  expect(() => storage.on(type as never, () => undefined)).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
});

test("a host's own types of tasks and jobs may come", async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' }, ...OUTBOX }, { environment: {} });
  const types = ['task.seen', 'job.printed'] as never[];
  await (await storage.subscribe('board', () => undefined, { stores: ['tasks', 'jobs'], types })).stop();
  expect(typeof storage.on('task.seen' as never, () => undefined)).toBe('function');
});

describe('what a host says in an event', () => {
  const MOST = 1_048_576 - 8_192;
  const sized = (bytes: number): object => ({ text: 'a'.repeat(bytes - jsonBytes({ text: '' })) });
  const deep = (levels: number): object => (levels === 1 ? {} : { a: deep(levels - 1) });
  const says: [string, string, (storage: StorageManager, said: object) => Promise<unknown>][] = [
    [
      'of a task',
      'event.payload',
      async ({ tasks }, payload) =>
        tasks.recordEvent((await tasks.create({ title: 'x' })).id, { eventType: 'own', payload }),
    ],
    [
      'of a job',
      'event.payload',
      async ({ jobs }, payload) =>
        jobs.recordEvent((await jobs.create({ name: randomUUID() })).id, { eventType: 'own', payload }),
    ],
    [
      'of a message',
      'message.events[0].metadata',
      ({ conversations }, metadata) =>
        conversations.addMessage(randomUUID(), { content: 'x', events: [{ type: 'own', metadata }] }),
    ],
    [
      'of the deletion of a message',
      'options.metadata',
      async ({ conversations }, metadata) => {
        const { conversationId, id } = await conversations.addMessage(randomUUID(), { content: 'x' });
        return conversations.deleteMessage(conversationId, id, { metadata });
      },
    ],
  ];

  test.each(says)('%s may be as large and as deep with a subscription as without', async (_of, key, say) => {
    await using storage = await openStorage({ databases: { main: 'memory:' }, ...OUTBOX }, { environment: {} });
    const most = key.endsWith('metadata') ? 61 : 62;
    for (const isSubscribed of [false, true]) {
      if (isSubscribed) await (await storage.subscribe('board', () => undefined)).stop();
      await say(storage, sized(MOST));
      await say(storage, deep(most));
      for (const said of [sized(MOST + 1), deep(most + 1)])
        await expect(say(storage, said)).rejects.toMatchObject({
          code: 'VALIDATION',
          message: expect.stringContaining(key) as unknown,
        });
    }
  });
});
