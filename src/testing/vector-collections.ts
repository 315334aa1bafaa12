/** Collections: made once, described, told apart, deleted. */
import assert from 'node:assert/strict';
import { systemClock } from '../clock.js';
import { VECTOR_LIMITS } from '../vectors/codec/limits.js';
import { METRICS } from '../vectors/codec/schema.js';
import type { VectorCollectionSpec } from '../vectors/provider.js';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

export function describeVectorCollections(runner: TestRunner, fixture: () => VectorFixture): void {
  const { describe, test } = runner;
  const metric = () => fixture().provider.capabilities.metrics[0]!;

  describe('collections', () => {
    test('are made once, and described as declared', async () => {
      const store = fixture().store();
      const spec: VectorCollectionSpec = {
        name: fixture().name(),
        dimension: 3,
        metric: metric(),
        fields: {
          title: 'string',
          'loc.from': 'number',
          "it's": 'number',
          at: 'date',
          tags: 'string[]',
          ok: 'boolean',
        },
      };
      await store.createCollection(spec);
      await store.createCollection({ ...spec, fields: Object.fromEntries(Object.entries(spec.fields!).reverse()) });
      const { name, dimension, metric: kept, fields } = await store.describeCollection(spec.name);
      assert.deepEqual({ name, dimension, metric: kept, fields: { ...fields } }, spec);
      assert.ok((await store.listCollections()).includes(spec.name));
    });

    test('another declaration under the name is a conflict', async () => {
      const name = await fixture().collection();
      const store = fixture().store();
      await rejects(store.createCollection({ name, dimension: 4, metric: metric() }), 'CONFLICT', name);
      const fields = { a: 'string' } as const;
      await rejects(store.createCollection({ name, dimension: 3, metric: metric(), fields }), 'CONFLICT', name);
      for (const other of fixture().provider.capabilities.metrics.slice(1))
        await rejects(store.createCollection({ name, dimension: 3, metric: other }), 'CONFLICT', name);
    });

    test('are made once by many at the same time', async () => {
      const store = fixture().store();
      const name = fixture().name();
      const spec = { name, dimension: 3, metric: metric() };
      await Promise.all(Array.from({ length: 8 }, () => store.createCollection(spec)));
      assert.equal((await store.listCollections()).filter((other) => other === name).length, 1);
    });

    test('what is not there is NOT_FOUND, by name', async () => {
      const store = fixture().store();
      const name = fixture().name();
      await rejects(store.describeCollection(name), 'NOT_FOUND', name);
      await rejects(store.count(name), 'NOT_FOUND', name);
      await rejects(store.search(name, { vector: [1, 0, 0] }), 'NOT_FOUND', name);
      await rejects(store.upsert(name, [{ id: 'a', vector: [1, 0, 0] }]), 'NOT_FOUND', name);
      await rejects(store.fetch(name, ['a']), 'NOT_FOUND', name);
      await rejects(store.delete(name, { all: true }), 'NOT_FOUND', name);
      assert.equal(await store.deleteCollection(name), false);
    });

    test('deleted and made anew with another dimension, nothing of the old one is left', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await store.upsert(name, [{ id: 'a', vector: [1, 2, 3], metadata: { tags: ['x', 'y'] }, text: 'old' }]);
      assert.equal(await store.deleteCollection(name), true);
      await store.createCollection({ name, dimension: 2, metric: metric() });
      assert.equal(await store.count(name), 0);
      await store.upsert(name, [{ id: 'a', vector: [1, 2] }]);
      await fixture().settle();
      assert.deepEqual(await store.get(name, 'a'), { id: 'a', metadata: {} });
      assert.equal(await store.count(name, { tags: { $contains: 'x' } }), 0);
    });

    test('made anew by another process with other fields, it is what that says', async () => {
      const { provider } = fixture();
      const store = fixture().store();
      const name = await fixture().collection({ fields: { n: 'string' } });
      await store.upsert(name, [{ id: 'a', vector: [1, 2, 3], metadata: { n: '5' } }]);
      assert.equal(await store.count(name, { n: { $exists: false } }), 0);
      // Past the store, whose memory then is that of another process.
      const context = { now: systemClock.now(), deadline: systemClock.monotonic() + 60_000 };
      const schema = await store.describeCollection(name);
      assert.equal(await provider.deleteCollection(name, context), true);
      await provider.createCollection({ ...schema, fields: { n: 'number' } }, context);
      await rejects(store.upsert(name, [{ id: 'b', vector: [1, 2, 3], metadata: { n: '5' } }]), 'CONFLICT', name);
      assert.deepEqual(await store.search(name, { vector: [1, 2, 3] }), []);
      await store.upsert(name, [{ id: 'b', vector: [1, 2, 3], metadata: { n: 5 } }]);
      await fixture().settle();
      assert.equal(await store.count(name, { n: { $gt: 4 } }), 1);
    });

    test('what the provider does not have is UNSUPPORTED', async () => {
      const store = fixture().store();
      const { metrics, maxDimension } = fixture().provider.capabilities;
      const name = fixture().name();
      for (const other of METRICS.filter((known) => !metrics.includes(known)))
        await rejects(store.createCollection({ name, dimension: 3, metric: other }), 'UNSUPPORTED');
      if (maxDimension < VECTOR_LIMITS.dimension)
        await rejects(store.createCollection({ name, dimension: maxDimension + 1, metric: metric() }), 'UNSUPPORTED');
      assert.ok(!(await store.listCollections()).includes(name));
    });

    test('names, dimensions and fields outside the domain are refused', async () => {
      const store = fixture().store();
      const name = fixture().name();
      for (const bad of ['', 'A', '1a', 'a_b', 'a.b', 'a'.repeat(46), 'a"; drop table x; --', 7])
        await rejects(store.createCollection({ name: bad as string, dimension: 3 }), 'VALIDATION', 'name');
      for (const dimension of [0, -1, 1.5, NaN, VECTOR_LIMITS.dimension + 1, '3'])
        await rejects(store.createCollection({ name, dimension: dimension as number }), 'VALIDATION', 'dimension');
      for (const path of ['qm', '$a', '#a', 'a..b', '__proto__', 'chroma:x', 'a[]', 'a"b'])
        await rejects(
          store.createCollection({ name, dimension: 3, fields: Object.fromEntries([[path, 'string']]) }),
          'VALIDATION',
          'fields',
        );
    });
  });
}
