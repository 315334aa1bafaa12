/** Deletion in its forms, and pages. */
import assert from 'node:assert/strict';
import type { VectorStore } from '../vectors/vector-store.js';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

export function describeVectorDeletion(runner: TestRunner, fixture: () => VectorFixture): void {
  const { describe, test } = runner;

  const filled = async (count: number): Promise<{ store: VectorStore; name: string }> => {
    const store = fixture().store();
    const name = await fixture().collection();
    const records = Array.from({ length: count }, (_, i) => ({
      id: `r${String(i).padStart(4, '0')}`,
      vector: [i + 1, 1, 1],
      metadata: { i, even: i % 2 === 0 },
    }));
    await store.upsert(name, records);
    await fixture().settle();
    return { store, name };
  };

  describe('deletion', () => {
    test('by ids, in both forms; what is not there is no error', async () => {
      const { store, name } = await filled(6);
      await store.delete(name, ['r0000', 'r0000', 'nope']);
      await store.delete(name, { ids: ['r0001'] });
      await store.delete(name, []);
      await fixture().settle();
      const { items } = await store.list(name);
      assert.deepEqual(items.map(({ id }) => id).sort(), ['r0002', 'r0003', 'r0004', 'r0005']);
    });

    test('by a filter, with the count where the provider tells it', async () => {
      const { store, name } = await filled(6);
      const { deleted } = await store.delete(name, { filter: { even: true, i: { $lt: 4 } } });
      assert.equal(deleted, fixture().provider.capabilities.deleteCount ? 2 : undefined);
      await fixture().settle();
      assert.equal(await store.count(name), 4);
    });

    test('a filter of nothing deletes nothing, a filter of all is refused', async () => {
      const { store, name } = await filled(3);
      assert.deepEqual(await store.delete(name, { filter: { i: { $in: [] } } }), { deleted: 0 });
      for (const filter of [{}, { $and: [] }, { $not: { $or: [] } }, { i: { $nin: [] } }, { $or: [{}, { i: 1 }] }])
        await rejects(store.delete(name, { filter }), 'VALIDATION', 'all: true');
      await rejects(store.delete(name, { filter: { i: { eq: 1 } } as never }), 'INVALID_FILTER');
      await rejects(store.delete(name, { filter: undefined } as never), 'INVALID_FILTER');
      for (const bad of [{}, { all: false }, { all: true, filter: {} }, 'r0000', undefined, { everything: true }])
        await rejects(store.delete(name, bad as never), 'VALIDATION');
      await fixture().settle();
      assert.equal(await store.count(name), 3);
    });

    test('of everything, when it is said', async () => {
      const { store, name } = await filled(3);
      await store.delete(name, { all: true });
      await fixture().settle();
      assert.equal(await store.count(name), 0);
      await store.delete(name, { all: true }, { namespace: 'never-written' });
    });
  });

  describe('pages', () => {
    test('hold every record once', async () => {
      const { store, name } = await filled(25);
      const pages: string[][] = [];
      let after: string | undefined;
      do {
        const page = await store.list(name, {
          limit: 10,
          filter: { i: { $gte: 2 } },
          ...(after === undefined ? {} : { after }),
        });
        pages.push(page.items.map(({ id }) => id));
        after = page.next;
      } while (after !== undefined);
      assert.deepEqual(
        pages.map((page) => page.length),
        [10, 10, 3],
      );
      assert.equal(new Set(pages.flat()).size, 23);
      if (fixture().provider.capabilities.listOrder === 'id') assert.deepEqual(pages.flat(), pages.flat().sort());
      const each: string[] = [];
      for await (const { id } of store.each(name, { limit: 7 })) each.push(id);
      assert.equal(new Set(each).size, 25);
      assert.equal(each.length, 25);
    });

    test('a cursor belongs to its query', async () => {
      const { store, name } = await filled(5);
      const { next } = await store.list(name, { limit: 2 });
      const after = next!;
      await rejects(store.list(name, { after, filter: { i: 1 } }), 'INVALID_CURSOR');
      await rejects(store.list(name, { after, namespace: 'other' }), 'INVALID_CURSOR');
      await rejects(fixture().store('other').list(name, { after }), 'INVALID_CURSOR');
      for (const bad of ['', 'x', `x${after}`, 7])
        await rejects(store.list(name, { after: bad as string }), 'INVALID_CURSOR');
      for (const limit of [0, 1_001, 1.5, '3'])
        await rejects(store.list(name, { limit: limit as number }), 'VALIDATION');
    });
  });
}
