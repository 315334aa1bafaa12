/** Ends the function of a transaction while calls of it are under way; prints what became of each transaction. */
import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import { isStorageError, openStorage, type Transaction } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const MINE = new Error('mine');

const WAYS: Readonly<Record<string, (tx: Transaction) => Promise<unknown>>> = {
  'throws behind one': async (tx) => {
    void tx.kv.set('left', 'a', 1);
    throw MINE;
  },
  'throws behind two': async (tx) => {
    void tx.tasks.create({ title: 'first' });
    void tx.conversations.addMessage(randomUUID(), { role: 'user', content: 'second' });
    throw MINE;
  },
  'fails before those that it would await': async (tx) => {
    const all = ['a', 'b', 'c'].map((title) => tx.tasks.create({ title }));
    await tx.tasks.get(randomUUID());
    await Promise.all(all);
  },
  'fails before a call of several steps': async (tx) => {
    const enqueued = tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1 });
    await tx.tasks.get(randomUUID());
    await enqueued;
  },
  'returns before asynchronous functions of its own': async (tx) => {
    const each = async (key: string): Promise<void> => {
      await tx.tasks.create({ title: key });
      await tx.kv.set('left', key, 1);
    };
    void each('a');
    void each('b');
  },
  'throws behind a part of it': async (tx) => {
    const part = tx.transaction(async (inner) => {
      await inner.kv.set('left', 'a', 1);
      await inner.kv.set('left', 'b', 1);
    });
    part.catch((error: unknown) => {
      // Where there are no savepoints it was never begun.
      if (!isStorageError(error, 'UNSUPPORTED')) throw error;
    });
    throw MINE;
  },
};

const storage = await openStorage({ databases: { main: url } }, { environment: {} });
await storage.prepare([], { stores: ['tasks', 'kv', 'conversations', 'outbox'] });
const told: Record<string, unknown> = {};
for (const [name, work] of Object.entries(WAYS)) {
  const error = await storage.transaction(work).catch((fault: unknown) => fault);
  const left = [(await storage.tasks.list()).items.length, (await storage.kv.list('left')).items.length];
  told[name] = [isStorageError(error) ? error.code : String(error), ...left];
}
await storage.close();
writeSync(1, JSON.stringify(told));
