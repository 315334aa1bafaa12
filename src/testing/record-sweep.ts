/** Deleting what has expired. */
import assert from 'node:assert/strict';
import { Orders } from './record-orders.js';
import { collectionOn, contextAt, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

const after = (milliseconds: number): Date => new Date(NOW.getTime() + milliseconds);

export function describeSweep({ describe, test }: TestRunner, target: () => OpenRecords): void {
  describe('the sweep', () => {
    test('deletes what has expired by the time it is given, and nothing else, in portions', async () => {
      const { backend } = target();
      const all = collectionOn(backend, Orders, freshTenant(), new WallClock(NOW));
      for (let i = 0; i < 5; i++) await all.save({ status: 's' }, { ttl: 1_000 });
      await all.save({ status: 's' });
      const sweep = (before: Date): Promise<number> => backend.sweep(Orders.schema, before, 3, contextAt(after(5_000)));
      for (let n = 1; n > 0;) n = await sweep(after(999));
      assert.equal(await all.count(), 6, 'none had expired by then');
      let swept = 0;
      for (let n = 1; n > 0; swept += n) {
        n = await sweep(after(1_000));
        assert.ok(n <= 3, `${n} at once`);
        assert.ok((await all.count()) >= 6 - swept - n, 'it deletes as many as it says');
      }
      assert.ok(swept >= 5);
      assert.equal(await all.count(), 1);
    });
  });
}
