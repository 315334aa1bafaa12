/** Every statement that an operation sends again has a name: a server that keeps its plan does not plan it each time. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { defineCollection, openStorage, type StorageManager } from '../../src/index.js';
import type { SqlPool } from '../../src/pools/pool.js';
import { databaseOf } from '../support/open-parts.js';
import { PGLITE_IN_MEMORY } from '../support/pglite-memory.js';

const Notes = defineCollection<{ n: number; text: string; key?: string }>({
  name: 'kept_notes',
  fields: { n: 'number', key: 'string' },
  indexes: [{ keys: ['n'] }],
  unique: [{ name: 'key', fields: ['key'] }],
  text: ['text'],
  id: 'given',
});

const CONVERSATION = randomUUID();
const value = (key?: string) => ({ n: 1, text: 'a text', ...(key === undefined ? {} : { key }) });
const notes = (storage: StorageManager) => storage.collection(Notes);
const named = async (storage: StorageManager): Promise<string> =>
  (await storage.jobs.create({ name: randomUUID() })).id;
const task = async (storage: StorageManager): Promise<string> => (await storage.tasks.create({ title: 'a' })).id;
const say = (storage: StorageManager) =>
  storage.conversations.addMessage(CONVERSATION, { content: 'hello', clientMessageId: randomUUID() });

const OPERATIONS: Readonly<Record<string, (storage: StorageManager) => Promise<unknown>>> = {
  save: (storage) => notes(storage).save(value(), { id: 'a' }),
  'save a key': (storage) => notes(storage).save(value('k'), { id: 'a' }),
  insert: (storage) => notes(storage).insert(value(), { id: randomUUID() }),
  'insert what is there': (storage) =>
    notes(storage)
      .insert(value(), { id: 'a' })
      .catch(() => undefined),
  saveMany: (storage) =>
    notes(storage).saveMany([
      { id: 'a', value: value() },
      { id: 'b', value: value() },
    ]),
  get: (storage) => notes(storage).get('a'),
  getMany: (storage) => notes(storage).getMany(['a', 'b', 'c']),
  replace: (storage) => notes(storage).replace('a', value()),
  update: (storage) => notes(storage).update('a', (note) => ({ ...note, n: note.n + 1 })),
  patch: (storage) => notes(storage).patch('a', { set: { n: 2 } }),
  increment: (storage) => notes(storage).increment('a', 'n'),
  list: (storage) => notes(storage).query({ n: { $gt: 0 } }, { sort: { n: 'desc' } }),
  search: (storage) => notes(storage).query({ $text: 'text' }),
  count: (storage) => notes(storage).count({ n: 1 }),
  aggregate: (storage) => notes(storage).aggregate({}, { by: ['n'] }),
  updateWhere: (storage) => notes(storage).updateWhere({ n: 1 }, { set: { n: 2 } }),
  deleteWhere: (storage) => notes(storage).deleteWhere({ n: 7 }),
  'a transaction': (storage) =>
    storage.transaction(async (tx) => {
      await tx.tasks.create({ title: 'a' });
      await tx.kv.set('n', 'k', 1);
      await tx.collection(Notes).save(value(), { id: 'a' });
      await tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1, idempotencyKey: randomUUID() });
    }),
  'kv.set': ({ kv }) => kv.set('n', 'k', { a: 1 }),
  'kv.get': ({ kv }) => kv.get('n', 'k'),
  'kv.increment': ({ kv }) => kv.increment('n', 'count'),
  'kv.getMany': ({ kv }) => kv.getMany('n', ['k', 'count']),
  'kv.setMany': ({ kv }) =>
    kv.setMany('n', [
      { key: 'a', value: 1 },
      { key: 'b', value: 2 },
    ]),
  'kv.list': ({ kv }) => kv.list('n'),
  'tasks.transition': async (storage) => storage.tasks.transition(await task(storage), 'ready'),
  'tasks.addDependency': async (storage) => storage.tasks.addDependency(await task(storage), await task(storage)),
  'tasks.ready': ({ tasks }) => tasks.ready(),
  'tasks.list': ({ tasks }) => tasks.list(),
  'conversations.addMessage': say,
  'conversations.editMessage': async (storage) =>
    storage.conversations.editMessage(CONVERSATION, (await say(storage)).id, { content: 'bye' }),
  'conversations.listMessages': ({ conversations }) => conversations.listMessages(CONVERSATION),
  'a job, and its run': async (storage) => {
    const job = await named(storage);
    await storage.jobs.enqueueRun(job);
    const [run] = await storage.jobs.claimDue({ workerId: 'w' });
    const { id, token } = run!;
    await storage.jobs.heartbeat(id, token);
    await storage.jobs.complete(id, token);
  },
  'agents.saveState': ({ agents }) => agents.saveState('agent', 'key', { a: 1 }),
  'agents.getState': ({ agents }) => agents.getState('agent', 'key'),
  'a lock': async (storage) => (await storage.locks().acquire('lock')).release(),
};

let storage: StorageManager;
let pool: SqlPool;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: PGLITE_IN_MEMORY } });
  pool = databaseOf(storage).pool as SqlPool;
});
afterAll(() => storage.close());

/** The statements without a name that an operation sends. */
async function namelessOf(work: () => Promise<unknown>): Promise<string[]> {
  const query = pool.query.bind(pool);
  const nameless: string[] = [];
  const asked = jest.spyOn(pool, 'query').mockImplementation((text, parameters, context, options) => {
    if (options?.name === undefined) nameless.push(text);
    return query(text, parameters, context, options);
  });
  try {
    await work();
    return nameless;
  } finally {
    asked.mockRestore();
  }
}

test.each(Object.keys(OPERATIONS))('%s', async (name) => {
  const work = (): Promise<unknown> => OPERATIONS[name]!(storage);
  for (let times = 0; times < 2; times++) await work();
  expect(await namelessOf(work)).toEqual([]);
});
