/** What a transaction delivers to its own database: done with it, so that what lives there may move from it or to it. */
import { describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type StorageManager, type Transaction } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';

const Orders = defineCollection<{ total: number }>({ name: 'orders', id: 'given' });
const targets = storageTargets('deliveries to the own database').filter(({ transactions }) => transactions);

describe.each(targets)('on $name', ({ prepare, vectors }) => {
  async function deliverAll(tx: Transaction): Promise<unknown[]> {
    const orders = tx.deliver.collection(Orders, { on: 'main' });
    const left = [
      await tx.deliver.tasks.create({ title: 'delivered' }),
      await orders.insert({ total: 1 }, { id: 'a' }),
      await orders.patch('a', { increment: { total: 2 } }),
    ];
    if (!vectors) return left;
    await tx.vectors().createCollection({ name: 'docs', dimension: 2 });
    const records = ['a', 'b'].map((id) => ({ id, vector: [1, 0] }));
    left.push(...(await tx.deliver.vectors().upsert('docs', records)));
    left.push(...(await tx.deliver.vectors().delete('docs', { ids: ['b'] })));
    return left;
  }

  const there = async (storage: StorageManager): Promise<unknown> => [
    (await storage.tasks.search()).items.map(({ title }) => title),
    (await storage.collection(Orders).find('a'))?.value,
    vectors && (await storage.vectors().listCollections()).length > 0 ? await storage.vectors().count('docs') : 0,
  ];

  test('it is there with the commit, nothing waits, and a rollback undoes it', async () => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    try {
      const failed = storage.transaction(async (tx) => {
        await deliverAll(tx);
        throw new Error('changed its mind');
      });
      await expect(failed).rejects.toThrow('changed its mind');
      expect(await there(storage)).toEqual([[], undefined, 0]);
      const left = await storage.transaction(deliverAll);
      expect(left).toEqual(left.map(() => ({})));
      expect(await there(storage)).toEqual([['delivered'], { total: 3 }, vectors ? 1 : 0]);
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
    } finally {
      await storage.close();
      await drop();
    }
  });

  test('it is done in the first run, and asks for no tables of the outbox', async () => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    try {
      const orders = storage.collection(Orders);
      await orders.save({ total: 1 }, { id: 'a' });
      let runs = 0;
      await storage.transaction(async (tx) => {
        runs++;
        await tx.deliver.collection(Orders, { on: 'main' }).save({ total: 2 }, { id: 'a' });
      });
      expect([runs, (await orders.get('a')).value.total]).toEqual([1, 2]);
    } finally {
      await storage.close();
      await drop();
    }
  });

  test('what it refuses is refused at the call, and conditions are as elsewhere', async () => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    try {
      await storage.collection(Orders).insert({ total: 1 }, { id: 'a' });
      const again = storage.transaction((tx) =>
        tx.deliver.collection(Orders, { on: 'main' }).insert({ total: 2 }, { id: 'a' }),
      );
      await expect(again).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      const condition = storage.transaction((tx) =>
        tx.deliver.collection(Orders, { on: 'main' }).replace('a', { total: 2 }, { ifVersion: 1 } as never),
      );
      await expect(condition).rejects.toMatchObject({ code: 'VALIDATION' });
    } finally {
      await storage.close();
      await drop();
    }
  });

  test('what is not there is deleted as elsewhere: nothing happens, and the transaction goes on', async () => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    try {
      const left = await storage.transaction(async (tx) => {
        const orders = tx.deliver.collection(Orders, { on: 'main' });
        return [await orders.delete('never there'), await orders.save({ total: 1 }, { id: 'a' })];
      });
      expect(left).toEqual([{}, {}]);
      expect((await storage.collection(Orders).get('a')).value).toEqual({ total: 1 });
    } finally {
      await storage.close();
      await drop();
    }
  });

  test('what is changed after the call is as it was at the call', async () => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    try {
      await storage.transaction(async (tx) => {
        const order = { total: 1 };
        const task = { title: 'delivered' };
        const calls: Promise<unknown>[] = [
          tx.deliver.collection(Orders, { on: 'main' }).insert(order, { id: 'a' }),
          tx.deliver.tasks.create(task),
        ];
        Object.assign(order, { total: 2 });
        Object.assign(task, { title: 'changed' });
        await Promise.all(calls);
        if (!vectors) return;
        await tx.vectors().createCollection({ name: 'docs', dimension: 2 });
        const record = { id: 'a', vector: [1, 0] };
        const options = { namespace: '' };
        const upserted = tx.deliver.vectors().upsert('docs', [record], options);
        record.id = 'b';
        options.namespace = 'other';
        await upserted;
      });
      expect(await there(storage)).toEqual([['delivered'], { total: 1 }, vectors ? 1 : 0]);
      if (vectors) expect(await storage.vectors().fetch('docs', ['a', 'b'])).toEqual([expect.anything(), undefined]);
    } finally {
      await storage.close();
      await drop();
    }
  });
});
