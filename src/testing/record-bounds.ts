/** Operations that their caller has given up: refused by the backend itself, with nothing done. */
import assert from 'node:assert/strict';
import type { CountRequest, RecordKey } from '../backends/backend.js';
import { systemClock } from '../clock.js';
import type { OperationContext } from '../component.js';
import { assertBounded } from './bounds.js';
import { Orders } from './record-orders.js';
import { collectionOn, contextAt, freshTenant, NOW, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

type Act = (context: OperationContext) => Promise<unknown>;

const key: RecordKey = { collection: Orders.schema, id: 'a' };
const insert = { collection: Orders.schema, id: 'b', kind: 'insert', value: { status: 's' } } as const;
const filter = { op: 'eq', field: { source: 'value', path: ['status'], type: 'string' }, value: 's' } as const;
const total = { source: 'value', path: ['total'], type: 'number' } as const;
const matching: CountRequest = { collection: Orders.schema, filter };
const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;

export function describeBounds({ describe, test }: TestRunner, target: () => OpenRecords): void {
  const refuseAll = async (operations: Readonly<Record<string, Act>>): Promise<void> => {
    for (const [operation, act] of Object.entries(operations)) await assertBounded(operation, act);
  };

  describe('an aborted signal and a passed deadline', () => {
    test('end every read', async () => {
      const { backend } = target();
      const scope = { tenant: freshTenant() };
      await backend.ensure([Orders.schema], contextAt(NOW));
      await refuseAll({
        read: (context) => backend.read(scope, [key], context),
        find: (context) => backend.find(scope, { ...matching, sort, limit: 1 }, context),
        count: (context) => backend.count(scope, matching, context),
      });
      if (backend.aggregate === undefined) return;
      const request = { ...matching, by: [], numbers: [total], limit: 1 };
      await assertBounded('aggregate', (context) => backend.aggregate!(scope, request, context));
    });

    test('end every write, of which nothing is done', async () => {
      const { backend } = target();
      const tenant = freshTenant();
      const scope = { tenant };
      const orders = collectionOn(backend, Orders, tenant);
      await orders.save({ status: 's', total: 1 }, { id: 'a', ttl: 3_600_000 });
      const later = new Date(systemClock.now().getTime() + 7_200_000);
      const changes = { set: { total: 2 } };
      await refuseAll({
        write: (context) => backend.write(scope, [insert], context),
        sweep: (context) => backend.sweep(Orders.schema, later, 1_000, context),
      });
      const optional: Readonly<Record<'deleteMany' | 'updateMany' | 'claim' | 'bulkLoad', Act>> = {
        deleteMany: (context) => backend.deleteMany!(scope, { ...matching, limit: 10 }, context),
        updateMany: (context) => backend.updateMany!(scope, { ...matching, changes }, context),
        claim: (context) => backend.claim!(scope, { ...matching, changes, sort, limit: 10 }, context),
        bulkLoad: (context) => backend.bulkLoad!(scope, [insert], context),
      };
      for (const operation of ['deleteMany', 'updateMany', 'claim', 'bulkLoad'] as const)
        if (backend[operation] !== undefined) await assertBounded(operation, optional[operation]);
      // A backend may have nothing to make.
      await assertBounded('ensure', (context) => backend.ensure([Orders.schema], context), 'may answer');
      const { items } = await orders.list();
      assert.deepEqual(
        items.map(({ id, value }) => [id, value]),
        [['a', { status: 's', total: 1 }]],
      );
    });
  });
}
