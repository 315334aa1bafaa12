/** What opening a collection and what transactions cost, in statements sent to the server: each is one round trip, or less. */
import { expect, test } from '@jest/globals';
import { defineCollection, openStorage, type Transaction } from '../src/index.js';
import { registry } from '../src/registry.js';
import { availableTargets } from '../src/testing/index.js';
import { statementsOf } from './support/statements.js';

const Notes = defineCollection<{ text: string }>({
  name: 'notes',
  fields: { text: 'string' },
  indexes: [{ keys: ['text'] }],
});
/** Nothing but what a test does sends a statement. */
const openCounted = (url: string) =>
  openStorage({ databases: { main: url }, lifecycle: { sweepInterval: 0 } }, { environment: {} });

const { tests } = await registry.pool('postgres');
const { available } = availableTargets(tests, process.env);
const [target] = available;

(target === undefined ? test.skip : test)('at most three statements before the first of its own', async () => {
  const { url, drop } = await target!.prepare();
  try {
    {
      await using storage = await openCounted(url);
      await storage.collection(Notes).save({ text: 'a' });
    }
    await using storage = await openCounted(url);
    const first = await statementsOf(() => storage.collection(Notes).count());
    const second = await statementsOf(() => storage.collection(Notes).count());
    expect(second).toHaveLength(1);
    expect(first.length - second.length).toBeLessThanOrEqual(3);
  } finally {
    await drop();
  }
});

(target === undefined ? test.skip : test)('a unique constraint costs a transaction no statement', async () => {
  const shape = { fields: { email: 'string' } } as const;
  const Plain = defineCollection<{ email: string }>({ name: 'plain', ...shape });
  const Users = defineCollection<{ email: string }>({
    name: 'users',
    ...shape,
    unique: [{ name: 'email', fields: ['email'] }],
  });
  const { url, drop } = await target!.prepare();
  try {
    await using storage = await openCounted(url);
    const counts: number[] = [];
    for (const definition of [Plain, Users]) {
      const { id } = await storage.collection(definition).save({ email: 'a' });
      const sent = await statementsOf(() =>
        storage.transaction(async (tx) => {
          const records = tx.collection(definition);
          await records.save({ email: 'b' });
          await records.replace(id, { email: 'c' });
          await records.patch(id, { set: { email: 'd' } });
          await records.saveMany([{ value: { email: 'e' } }, { value: { email: 'f' } }]);
          await records.delete(id);
        }),
      );
      counts.push(sent.length);
    }
    expect(counts[1]).toBe(counts[0]);
  } finally {
    await drop();
  }
});

(target === undefined ? test.skip : test)('a transaction of one write takes two statements', async () => {
  const { url, drop } = await target!.prepare();
  try {
    await using storage = await openCounted(url);
    const save = (tx: Transaction) => tx.collection(Notes).save({ text: 'a' });
    const inner = (tx: Transaction) => tx.transaction(save);
    const undone = async (tx: Transaction) => {
      const work = tx.transaction(async (part) => {
        await save(part);
        throw new Error('changed my mind');
      });
      await work.catch(() => undefined);
    };
    const counts: Record<string, number> = {};
    for (const [name, work] of Object.entries<(tx: Transaction) => Promise<unknown>>({
      nothing: async () => undefined,
      'a write': save,
      'a write in a transaction within': inner,
      'nothing in a transaction within, and a write': (tx) =>
        tx.transaction(async () => undefined).then(() => save(tx)),
      'two, one after another, and a write': (tx) => inner(tx).then(() => inner(tx).then(() => save(tx))),
      'one that is undone, and a write': (tx) => undone(tx).then(() => save(tx)),
      'a task': (tx) => tx.tasks.create({ title: 'a' }),
    })) {
      // The first use makes tables.
      await storage.transaction(work);
      counts[name] = (await statementsOf(() => storage.transaction(work))).length;
    }
    expect(counts).toEqual({
      nothing: 0,
      'a write': 2,
      'a write in a transaction within': 2,
      'nothing in a transaction within, and a write': 2,
      'two, one after another, and a write': 4,
      'one that is undone, and a write': 4,
      'a task': 2,
    });
  } finally {
    await drop();
  }
});

(target === undefined ? test.skip : test)('the first entry of a namespace costs what tells that it is', async () => {
  const { url, drop } = await target!.prepare();
  try {
    await using storage = await openCounted(url);
    const set = (namespace: string) => statementsOf(() => storage.kv.set(namespace, 'a', 'value'));
    await set('made');
    expect(await set('made')).toHaveLength(2);
    // The entry, the batch as if there were a counter, why not; the entry, the counter, what is to be counted, the batch.
    expect(await set('new')).toHaveLength(7);
  } finally {
    await drop();
  }
});

(target === undefined ? test.skip : test)(
  'what reads entries only selects, also over one that has expired',
  async () => {
    const { url, drop } = await target!.prepare();
    try {
      await using storage = await openCounted(url);
      const { kv } = storage;
      await kv.set('n', 'a', 1);
      await kv.set('n', 'b', 2, { ttlSeconds: 0.001 });
      const end = performance.now() + 60_000;
      while ((await kv.has('n', 'b')) && performance.now() < end);
      for (const key of ['a', 'b', 'none']) {
        const sent = await statementsOf(async () => {
          expect((await kv.get('n', key)).found).toBe(key === 'a');
        });
        expect(sent).toEqual([expect.stringMatching(/^SELECT /)]);
      }
      const sent = await statementsOf(async () => {
        expect((await kv.getMany('n', ['a', 'b'])).map(({ found }) => found)).toEqual([true, false]);
        expect(await kv.ttl('n', 'b')).toBeUndefined();
        expect((await kv.list('n')).items).toHaveLength(1);
        expect(await kv.usage('n')).toMatchObject({ entries: 1 });
      });
      expect(sent.length).toBeGreaterThanOrEqual(4);
      for (const text of sent) expect(text).toMatch(/^SELECT (?!.*\b(INSERT|UPDATE|DELETE)\b)/s);
    } finally {
      await drop();
    }
  },
);
