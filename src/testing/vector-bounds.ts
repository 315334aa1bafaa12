/** Operations that their caller has given up: refused by the provider itself, with nothing done. */
import assert from 'node:assert/strict';
import type { OperationContext } from '../component.js';
import type { VectorSchema } from '../vectors/provider.js';
import { assertBounded } from './bounds.js';
import type { TestRunner } from './runner.js';
import type { VectorFixture } from './vector-target.js';

type Act = (context: OperationContext) => Promise<unknown>;

const scope = { tenant: 'suite', namespace: '' };
const include = { vector: false, metadata: true, text: false };
const vector = new Float32Array([1, 0, 0]);

export function describeVectorBounds({ describe, test }: TestRunner, fixture: () => VectorFixture): void {
  /** A collection with the one record `a`, as the provider knows it. */
  const filled = async (spec: object = {}): Promise<VectorSchema> => {
    const name = await fixture().collection(spec);
    await fixture()
      .store()
      .upsert(name, [{ id: 'a', vector: [1, 0, 0], text: 'here' }]);
    await fixture().settle();
    return fixture().store().describeCollection(name);
  };
  const refuseAll = async (operations: Readonly<Record<string, Act>>): Promise<void> => {
    for (const [operation, act] of Object.entries(operations)) await assertBounded(operation, act);
  };

  describe('an aborted signal and a passed deadline', () => {
    test('end every read', async () => {
      const { provider } = fixture();
      const schema = await filled();
      const request = { topK: 1, exact: false, include, consistency: 'eventual' } as const;
      await refuseAll({
        describeCollection: (context) => provider.describeCollection(schema.name, context),
        listCollections: (context) => provider.listCollections(context),
        fetch: (context) => provider.fetch(schema, scope, ['a'], include, context),
        list: (context) => provider.list(schema, scope, { limit: 10, include }, context),
        count: (context) => provider.count(schema, scope, undefined, context),
        search: (context) => provider.search(schema, scope, { ...request, vector }, context),
      });
      const explained = { ...request, vector };
      if (provider.explain !== undefined)
        await assertBounded('explain', (context) => provider.explain!(schema, scope, explained, context), 'may answer');
      if (provider.searchText === undefined) return;
      const searched = await filled({ text: {} });
      const words = { ...request, words: ['here'] };
      await assertBounded('searchText', (context) => provider.searchText!(searched, scope, words, context));
    });

    test('end every write, of which nothing is done', async () => {
      const { provider } = fixture();
      const schema = await filled();
      const records = [{ id: 'b', vector, metadata: {} }];
      const fresh = { ...schema, name: fixture().name() };
      await refuseAll({
        createCollection: (context) => provider.createCollection(fresh, context),
        upsert: (context) => provider.upsert(schema, scope, records, context),
        delete: (context) => provider.delete(schema, scope, { ids: ['a'] }, context),
        'delete of all': (context) => provider.delete(schema, scope, { all: true }, context),
        deleteCollection: (context) => provider.deleteCollection(schema.name, context),
      });
      for (const operation of ['bulkLoad', 'buildIndex', 'dropIndex'] as const) {
        if (provider[operation] === undefined) continue;
        await assertBounded(operation, (context) =>
          operation === 'bulkLoad'
            ? provider.bulkLoad!(schema, scope, records, context)
            : provider[operation]!(schema, context),
        );
      }
      await fixture().settle();
      const store = fixture().store();
      const { items } = await store.list(schema.name);
      assert.deepEqual(
        items.map(({ id }) => id),
        ['a'],
      );
      assert.equal((await store.listCollections()).includes(fresh.name), false);
    });
  });
}
