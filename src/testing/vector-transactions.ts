/** Vectors in transactions of the pool that the provider rides on: wholly or not at all, and nobody else's before the end. */
import assert from 'node:assert/strict';
import { systemClock } from '../clock.js';
import type { Session } from '../component.js';
import { isSerializationFailure } from '../errors.js';
import { TurnQueue } from '../pools/turn-queue.js';
import type { VectorStore } from '../vectors/vector-store.js';
import { letRead } from './outside-read.js';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

export function describeVectorTransactions(runner: TestRunner, fixture: () => VectorFixture): void {
  const { describe } = runner;
  /** A test of transactions; a provider that says it has none must be refused them. */
  const test = (name: string, body: () => Promise<void>): void =>
    runner.test(name, async () => {
      if (fixture().provider.capabilities.transactions) return body();
      const collection = await fixture().collection();
      const inside = fixture().store('suite', {
        pool: fixture().provider,
        clock: systemClock,
        turns: new TurnQueue(systemClock, 'main'),
        failure: undefined,
      });
      await rejects(inside.upsert(collection, [{ id: 'a', vector: [1, 0, 0] }]), 'UNSUPPORTED', 'transaction');
      await rejects(inside.search(collection, { vector: [1, 0, 0] }), 'UNSUPPORTED', 'transaction');
      await fixture().settle();
      assert.equal(await fixture().store().count(collection), 0);
    });
  const within = async <R>(work: (inside: VectorStore) => Promise<R>): Promise<R> => {
    const { pool } = fixture().provider;
    assert.ok(pool, 'transactions: true, and no pool whose transactions they are');
    for (let attempt = 0; ; attempt++) {
      const context = { now: systemClock.now(), deadline: systemClock.monotonic() + 60_000 };
      try {
        return await pool.transaction({ context }, (session: Session) => work(fixture().store('suite', session)));
      } catch (error) {
        if (!isSerializationFailure(error) || attempt === 20) throw error;
      }
    }
  };
  const idsOf = async (store: VectorStore, name: string): Promise<string[]> =>
    (await store.list(name)).items.map(({ id }) => id).sort();
  /** A collection with the records `a` and `b`. */
  const filled = async (): Promise<string> => {
    const name = await fixture().collection();
    await fixture()
      .store()
      .upsert(name, [
        { id: 'a', vector: [1, 0, 0], metadata: { n: 1 } },
        { id: 'b', vector: [0, 1, 0], metadata: { n: 2 } },
      ]);
    await fixture().settle();
    return name;
  };
  /** Every kind of write: `a` is another vector then, `b` is gone, `c` and `d` are new. */
  const change = async (inside: VectorStore, name: string): Promise<void> => {
    await inside.upsert(name, [
      { id: 'a', vector: [0, 0, 1], metadata: { n: 10 } },
      { id: 'c', vector: [0, 1, 1], metadata: { n: 10 } },
    ]);
    await inside.delete(name, { filter: { n: 2 } });
    await inside.load(name, [{ id: 'd', vector: [1, 0, 1], metadata: { n: 4 } }]);
  };

  describe('transactions', () => {
    test('what is written is seen inside at once, by every read, and by all after the commit', async () => {
      const name = await filled();
      await within(async (inside) => {
        await change(inside, name);
        assert.deepEqual(await idsOf(inside, name), ['a', 'c', 'd']);
        assert.equal(await inside.count(name, { n: 10 }), 2);
        const [a, b] = await inside.fetch(name, ['a', 'b']);
        assert.deepEqual([a?.metadata, b], [{ n: 10 }, undefined]);
        const [nearest] = await inside.search(name, { vector: [0, 0, 1], topK: 1, filter: { n: 10 } });
        assert.equal(nearest?.id, 'a');
      });
      await fixture().settle();
      assert.deepEqual(await idsOf(fixture().store(), name), ['a', 'c', 'd']);
    });

    test('what is undone was never seen by others, and is not there afterwards', async () => {
      const name = await filled();
      const fault = new Error('changed my mind');
      const seen: Promise<string[]>[] = [];
      await assert.rejects(
        within(async (inside) => {
          await change(inside, name);
          const outside = idsOf(fixture().store(), name);
          seen.push(outside);
          await letRead(outside);
          throw fault;
        }),
        (error) => error === fault,
      );
      for (const outside of seen) assert.deepEqual(await outside, ['a', 'b'], 'as it was before');
      await fixture().settle();
      assert.deepEqual(await idsOf(fixture().store(), name), ['a', 'b']);
      const a = await fixture().store().get(name, 'a');
      assert.deepEqual(a.metadata, { n: 1 });
    });

    test('a session that has ended is refused', async () => {
      const name = await filled();
      let late: VectorStore | undefined;
      await within(async (inside) => {
        late = inside;
        await inside.count(name);
      });
      await rejects(late!.upsert(name, [{ id: 'c', vector: [1, 0, 0] }]), 'CLOSED');
      await rejects(late!.delete(name, ['a']), 'CLOSED');
      await rejects(late!.load(name, [{ id: 'd', vector: [1, 0, 0] }]), 'CLOSED');
      await rejects(late!.search(name, { vector: [1, 0, 0] }), 'CLOSED');
      await rejects(late!.count(name), 'CLOSED');
      assert.deepEqual(await idsOf(fixture().store(), name), ['a', 'b']);
    });
  });
}
