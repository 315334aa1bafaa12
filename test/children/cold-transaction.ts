/** Begins calls of a transaction before it awaits them, where no table is there yet; prints what became of each transaction. */
import { writeSync } from 'node:fs';
import { defineCollection, isStorageError, openStorage, type Transaction } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
let collections = 0;
const fresh = (tx: Transaction) =>
  tx.collection(defineCollection<{ n: number }>({ name: `cold_${collections++}` })).save({ n: 1 });

const WAYS: Readonly<Record<string, (tx: Transaction) => Promise<unknown>>> = {
  'one after another': async (tx) => {
    const calls = [fresh(tx), tx.kv.set('cold', 'a', 1), tx.tasks.create({ title: 'cold' })];
    for (const call of calls) await call;
  },
  'with cleaning up': async (tx) => {
    const calls = [fresh(tx), tx.agents.saveState('a', 'k', {})];
    try {
      await calls[0];
    } finally {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await calls[1];
  },
  'all settled': async (tx) => {
    const ended = await Promise.allSettled([fresh(tx), tx.jobs.create({ name: `cold ${process.pid}` })]);
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  },
  'the last one first': async (tx) => {
    const [first, last] = [tx.sequences().next('cold'), tx.outbox.enqueue({ topic: 'cold', key: 'k', payload: 1 })];
    await last;
    await first;
  },
  forgotten: async (tx) => {
    void fresh(tx);
  },
};

const storage = await openStorage({ databases: { main: url } }, { environment: {} });
const told: Record<string, string> = {};
for (const [name, work] of Object.entries(WAYS)) {
  const collection = collections;
  told[name] = await storage
    .transaction((tx) => {
      // The same collections in every run of the function.
      collections = collection;
      return work(tx);
    })
    .then(
      () => 'committed',
      (error: unknown) => (isStorageError(error) ? error.code : String(error)),
    );
}
await storage.close();
writeSync(1, JSON.stringify(told));
