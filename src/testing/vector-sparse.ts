/** Sparse vectors, beside dense ones and alone; refused where the provider has none. */
import assert from 'node:assert/strict';
import { scoreOf } from '../vectors/codec/score.js';
import { checkSparse, sparseDot } from '../vectors/codec/sparse.js';
import type { StoredSparse } from '../vectors/provider.js';
import type { FetchedRecord, SparseVector, VectorHit } from '../vectors/vector-store.js';
import type { TestRunner } from './runner.js';
import { assertScore, numbers } from './vector-search.js';
import { rejects, type VectorFixture } from './vector-target.js';

const LARGEST = 4_294_967_295;

const BAD: Readonly<Record<string, unknown>> = {
  'no object': [1, 2],
  'without values': { indices: [1] },
  'with another key': { indices: [1], values: [1], weights: [1] },
  empty: { indices: [], values: [] },
  'of unlike lengths': { indices: [1, 2], values: [1] },
  'an index twice': { indices: [3, 1, 3], values: [1, 1, 1] },
  'a fraction': { indices: [1.5], values: [1] },
  'a negative index': { indices: [-1], values: [1] },
  'an index of more than 32 bits': { indices: [LARGEST + 1], values: [1] },
  'an index as text': { indices: ['1'], values: [1] },
  'signed indices': { indices: Int32Array.of(1), values: [1] },
  NaN: { indices: [1], values: [NaN] },
  infinite: { indices: [1], values: [Infinity] },
  'infinite in float32': { indices: [1], values: [1e39] },
  'a value as text': { indices: [1], values: ['1'] },
  zeros: { indices: [1, 2], values: [0, -0] },
  'zero in float32': { indices: [1], values: [1e-50] },
  'too long': { indices: [1], values: [1e16] },
  'too many': { indices: Array.from({ length: 1_001 }, (_, i) => i), values: Array.from({ length: 1_001 }, () => 1) },
};

export function describeVectorSparse({ describe, test }: TestRunner, fixture: () => VectorFixture): void {
  const capabilities = () => fixture().provider.capabilities;
  const sparse: SparseVector = { indices: [1], values: [1] };

  describe('sparse vectors', () => {
    test('are UNSUPPORTED where the provider, or the collection, has none', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await rejects(store.upsert(name, [{ id: 'a', vector: [1, 0, 0], sparse }]), 'UNSUPPORTED', 'records[0].sparse');
      await rejects(store.upsert(name, [{ id: 'a', sparse }]), 'VALIDATION', 'records[0].vector');
      await rejects(store.search(name, { vector: [1, 0, 0], sparse }), 'UNSUPPORTED', 'sparse');
      await rejects(store.search(name, { sparse }), 'UNSUPPORTED', 'sparse');
      assert.equal(await store.count(name), 0);
      if (capabilities().sparse) return;
      for (const dimension of [3, 0])
        await rejects(fixture().collection({ metric: 'dot', sparse: true, dimension }), 'UNSUPPORTED', 'sparse');
    });

    test('have the metric dot, and a collection of no dimension', async () => {
      const store = fixture().store();
      for (const metric of ['cosine', 'euclidean'] as const)
        await rejects(fixture().collection({ metric, sparse: true }), 'VALIDATION', 'metric');
      await rejects(fixture().collection({ dimension: 0 }), 'VALIDATION', 'dimension');
      await rejects(fixture().collection({ sparse: 'yes' as never }), 'VALIDATION', 'sparse');
      if (!capabilities().sparse) return;
      for (const dimension of [3, 0]) {
        const name = fixture().name();
        await store.createCollection({ name, dimension, sparse: true });
        await store.createCollection({ name, dimension, sparse: true, metric: 'dot' });
        const described = await store.describeCollection(name);
        assert.deepEqual([described.dimension, described.metric, described.sparse], [dimension, 'dot', true]);
        await rejects(store.createCollection({ name, dimension: 3, metric: 'dot' }), 'CONFLICT', name);
      }
    });

    for (const dimension of [3, 0])
      test(`${dimension === 0 ? 'alone' : 'beside dense ones'}: the sum of the inner products, the closest first`, async () => {
        if (!capabilities().sparse) return;
        const store = fixture().store();
        const name = await fixture().collection({ dimension, metric: 'dot', sparse: true });
        const random = numbers(11);
        const draw = () => ({
          ...(dimension === 0 ? {} : { vector: Array.from({ length: dimension }, random) }),
          sparse: drawSparse(random),
        });
        const drawn = Array.from({ length: 80 }, (_, i) => ({ id: `r${i}`, ...draw(), metadata: { i } }));
        // Beside dense ones a record may have none.
        const records = drawn.map(({ sparse: own, ...dense }, i) =>
          dimension > 0 && i % 5 === 0 ? dense : { ...dense, sparse: own },
        );
        await store.upsert(name, records as readonly (typeof drawn)[number][]);
        await fixture().settle();
        for (let round = 0; round < 6; round++) {
          const { sparse: given, ...near } = draw();
          const query = dimension > 0 && round === 0 ? near : { ...near, sparse: given };
          const wanted = 'sparse' in query ? checkSparse(query.sparse, 'sparse') : undefined;
          for (const filter of [{}, { i: { $lt: 40 } }]) {
            const expected = records
              .filter(({ metadata }) => !('i' in filter) || metadata.i < 40)
              .map((record) => ({ id: record.id, score: scoreBetween(record, near.vector, wanted) }))
              .filter(({ score }) => dimension > 0 || score !== 0)
              .sort((a, b) => b.score - a.score);
            const hits = await store.search(name, { ...query, filter, topK: 80 });
            assert.deepEqual(
              hits.map(({ id }) => id),
              expected.map(({ id }) => id),
            );
            for (const [i, { id, score }] of hits.entries()) assertScore(score, expected[i]!.score, id);
          }
        }
      });

    test('come back with the vector, by ascending indices, and are replaced with the record', async () => {
      if (!capabilities().sparse) return;
      const store = fixture().store();
      const include = { vector: true };
      const name = await fixture().collection({ metric: 'dot', sparse: true });
      const indices = [LARGEST, 0, 70_000];
      const typed = { indices: Uint32Array.of(5, 2), values: Float32Array.of(0.1, -3) };
      await store.upsert(name, [
        { id: 'a', vector: [1, 2, 3], sparse: { indices, values: [0.5, -0, 1e-7] } },
        { id: 'b', vector: [1, 2, 3], sparse: typed },
        { id: 'c', vector: [1, 2, 3] },
      ]);
      indices[0] = 1;
      await fixture().settle();
      const [a, b, c] = (await store.fetch(name, ['a', 'b', 'c'], { include })) as FetchedRecord[];
      assert.deepEqual(plain(a!), { indices: [0, 70_000, LARGEST], values: [0, Math.fround(1e-7), 0.5] });
      assert.deepEqual(plain(b!), { indices: [2, 5], values: [-3, Math.fround(0.1)] });
      assert.equal(c?.sparse, undefined);
      assert.equal((await store.get(name, 'a')).sparse, undefined);
      const [hit] = await store.search(name, { vector: [1, 0, 0], sparse: { indices: [0], values: [1] }, include });
      assert.ok(hit?.vector !== undefined);
      await store.upsert(name, [{ id: 'a', vector: [3, 2, 1] }]);
      await fixture().settle();
      assert.equal((await store.get(name, 'a', { include })).sparse, undefined);
      assert.deepEqual([...(await store.get(name, 'a', { include })).vector!], [3, 2, 1]);
    });

    test('alone: without a vector, and what shares nothing with the query is no hit', async () => {
      if (!capabilities().sparse) return;
      const store = fixture().store();
      const name = await fixture().collection({ dimension: 0, metric: 'dot', sparse: true });
      await store.upsert(name, [
        { id: 'one', sparse: { indices: [1, 2], values: [1, 1] }, metadata: { kept: true } },
        { id: 'two', sparse: { indices: [2, LARGEST], values: [2, 1] } },
        { id: 'far', sparse: { indices: [7], values: [1] } },
      ]);
      await fixture().settle();
      const ids = (hits: readonly VectorHit[]): string[] => hits.map(({ id }) => id);
      const query = { sparse: { indices: [2], values: [1] } };
      assert.deepEqual(ids(await store.search(name, query)), ['two', 'one']);
      assert.deepEqual(ids(await store.search(name, { ...query, topK: 1 })), ['two']);
      assert.deepEqual(ids(await store.search(name, { ...query, minScore: 1.5 })), ['two']);
      assert.deepEqual(ids(await store.search(name, { ...query, filter: { kept: true } })), ['one']);
      assert.deepEqual(ids(await store.search(name, { sparse: { indices: [9], values: [1] } })), []);
      // By a record: as by its vector.
      const near = await store.search(name, { id: 'two', include: { vector: true } });
      assert.deepEqual(ids(near), ['two', 'one']);
      assert.deepEqual(plain(near[0]!), { indices: [2, LARGEST], values: [2, 1] });
      assert.equal('vector' in near[0]!, false);
      assert.equal(await store.count(name), 3);
      await rejects(store.upsert(name, [{ id: 'a' } as never]), 'VALIDATION', 'records[0].sparse');
      await rejects(store.upsert(name, [{ id: 'a', vector: [1], sparse }]), 'VALIDATION', 'records[0].vector');
      await rejects(store.search(name, { vector: [1], sparse }), 'VALIDATION', 'vector');
      await rejects(store.search(name, { ...query, topK: 1_001 }), 'VALIDATION', 'topK');
    });

    test('by a record: both of its vectors count', async () => {
      if (!capabilities().sparse) return;
      const store = fixture().store();
      const name = await fixture().collection({ metric: 'dot', sparse: true });
      await store.upsert(name, [
        { id: 'a', vector: [1, 0, 0], sparse: { indices: [4], values: [3] } },
        { id: 'b', vector: [1, 0, 0], sparse: { indices: [4], values: [1] } },
        { id: 'c', vector: [1, 0, 0] },
      ]);
      await fixture().settle();
      const hits = await store.search(name, { id: 'a' });
      assert.deepEqual(
        hits.map(({ id }) => id),
        ['a', 'b', 'c'],
      );
      for (const [i, score] of [10, 4, 1].entries()) assertScore(hits[i]!.score, score, hits[i]!.id);
      await rejects(store.search(name, { id: 'a', sparse }), 'VALIDATION', 'either');
      await rejects(store.search(name, { sparse }), 'VALIDATION', 'vector');
    });

    test('that cannot be kept are refused, by their key', async () => {
      if (!capabilities().sparse) return;
      const store = fixture().store();
      const name = await fixture().collection({ metric: 'dot', sparse: true });
      for (const [what, bad] of Object.entries(BAD)) {
        const record = { id: 'a', vector: [1, 0, 0], sparse: bad as SparseVector };
        await assert.rejects(
          store.upsert(name, [record]),
          { code: 'VALIDATION', message: /^records\[0\]\.sparse/ },
          what,
        );
        await rejects(store.search(name, { vector: [1, 0, 0], sparse: record.sparse }), 'VALIDATION', 'sparse');
      }
      assert.equal(await store.count(name), 0);
    });

    test('as large as they may be', async () => {
      if (!capabilities().sparse) return;
      const store = fixture().store();
      const name = await fixture().collection({ metric: 'dot', sparse: true });
      const random = numbers(5);
      const components = Array.from({ length: 1_000 }, (_, i) => [LARGEST - 7 * i, random()] as const);
      const large = { indices: components.map(([index]) => index), values: components.map(([, value]) => value) };
      await store.upsert(name, [{ id: 'a', vector: [1, 0, 0], sparse: large }]);
      await fixture().settle();
      const expected = checkSparse(large, 'large');
      const kept = plain(await store.get(name, 'a', { include: { vector: true } }));
      assert.deepEqual(kept, { indices: [...expected.indices], values: [...expected.values] });
      const [hit] = await store.search(name, { vector: [1, 0, 0], sparse: large });
      assertScore(hit!.score, 1 + sparseDot(expected, expected), 'large');
    });
  });
}

/** Two to six of few dimensions, so that they meet. */
function drawSparse(random: () => number): SparseVector {
  const indices = new Set(Array.from({ length: 6 }, () => Math.floor((random() + 1) * 6) * 1_000_003));
  return { indices: [...indices], values: Array.from(indices, () => random() * 2) };
}

function scoreBetween(
  record: { readonly vector?: readonly number[]; readonly sparse?: SparseVector },
  vector: readonly number[] | undefined,
  wanted: StoredSparse | undefined,
): number {
  const dense = vector === undefined ? 0 : scoreOf('dot', Float32Array.from(record.vector!), Float32Array.from(vector));
  return dense + sparseDot(record.sparse && checkSparse(record.sparse, 'record'), wanted);
}

function plain({ sparse }: FetchedRecord): { indices: number[]; values: number[] } {
  return { indices: [...sparse!.indices], values: [...sparse!.values] };
}
