/** Batches: all of them or none, or in their order up to the first failure. */
import assert from 'node:assert/strict';
import { defineCollection } from '../collection/definition.js';
import { collectionOn, contextAt, freshTenant, NOW, type OpenRecords } from './record-target.js';
import { Orders, refusedWith } from './record-orders.js';
import type { TestRunner } from './runner.js';

const Bills = defineCollection<{ total: number }>({ name: 'test_bills', fields: { total: 'number' }, id: 'given' });

export function describeBatches(runner: TestRunner, target: () => OpenRecords): void {
  const { describe, test } = runner;

  describe('batches', () => {
    test('a batch is written wholly or not at all, or up to its first failure, also over collections', async () => {
      const { backend } = target();
      const tenant = freshTenant();
      const context = contextAt(NOW);
      await backend.ensure([Orders.schema, Bills.schema], context);
      const insert = (collection: typeof Orders.schema, id: string) =>
        ({ collection, id, kind: 'insert', value: { total: 1, status: 's' } }) as const;
      await backend.write({ tenant }, [insert(Bills.schema, 'b')], context);
      const refused = await backend.write({ tenant }, [insert(Orders.schema, 'a'), insert(Bills.schema, 'b')], context);
      const isAtomic = backend.capabilities.batch === 'atomic';
      assert.deepEqual(
        refused.map(({ status }) => status),
        isAtomic ? ['skipped', 'exists'] : ['written', 'exists'],
      );
      const keys = [{ collection: Orders.schema, id: 'a' }];
      const [left] = await backend.read({ tenant }, keys, context);
      assert.equal(left === undefined, isAtomic);
      const stopped = await backend.write(
        { tenant },
        [insert(Bills.schema, 'b'), insert(Orders.schema, 'd'), insert(Orders.schema, 'e')],
        context,
      );
      assert.deepEqual(
        stopped.map(({ status }) => status),
        ['exists', 'skipped', 'skipped'],
      );
      const written = await backend.write({ tenant }, [insert(Orders.schema, 'd'), insert(Bills.schema, 'c')], context);
      assert.deepEqual(
        written.map(({ status }) => status),
        ['written', 'written'],
      );
    });

    test('1,000 records at once, in the order of their making', async () => {
      const all = collectionOn(target().backend, Orders, freshTenant());
      const values = Array.from({ length: 1_000 }, (_, i) => ({ value: { status: 's', total: i } }));
      if (target().backend.capabilities.batch !== 'atomic') {
        await assert.rejects(all.saveMany(values), refusedWith('UNSUPPORTED'));
        assert.equal(await all.count(), 0);
        return;
      }
      const saved = await all.saveMany(values);
      const seen: (number | null | undefined)[] = [];
      for await (const record of all.each()) seen.push(record.value.total);
      assert.deepEqual(
        seen,
        values.map(({ value }) => value.total),
      );
      assert.equal(new Set(saved.map(({ id }) => id)).size, 1_000);
    });

    test('more than 1,000 records or 8 MiB at once are refused before anything is written', async () => {
      const all = collectionOn(target().backend, Orders, freshTenant());
      const many = Array.from({ length: 1_001 }, () => ({ value: { status: 's' } }));
      await assert.rejects(all.saveMany(many), refusedWith('VALIDATION'));
      // Each of them by itself is small enough.
      const large = Array.from({ length: 9 }, () => ({ value: { status: 's', note: 'x'.repeat(1_000_000) } }));
      const { batch } = target().backend.capabilities;
      await assert.rejects(all.saveMany(large), refusedWith(batch === 'atomic' ? 'VALIDATION' : 'UNSUPPORTED'));
      assert.equal(await all.count(), 0);
    });
  });
}
