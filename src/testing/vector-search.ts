/** Search: scores by the metric, the order of hits, thresholds, and what is refused. */
import assert from 'node:assert/strict';
import { METRICS } from '../vectors/codec/schema.js';
import { scoreOf } from '../vectors/codec/score.js';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

/** How far a score may be from the one in float64. */
export function assertScore(actual: number, expected: number, what: string): void {
  const tolerance = 1e-4 * Math.max(1, Math.abs(expected));
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: score ${actual}, expected ${expected}`);
}

/** The same numbers in every run (mulberry32), between -1 and 1. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

export function describeVectorSearch(runner: TestRunner, fixture: () => VectorFixture): void {
  const { describe, test } = runner;
  const capabilities = () => fixture().provider.capabilities;

  describe('search', () => {
    for (const metric of METRICS)
      test(`scores by ${metric}`, async () => {
        const store = fixture().store();
        if (!capabilities().metrics.includes(metric)) return rejects(fixture().collection({ metric }), 'UNSUPPORTED');
        const dimension = 24;
        const name = await fixture().collection({ metric, dimension });
        const random = numbers(7);
        const draw = (scale: number) => Float32Array.from({ length: dimension }, () => random() * scale);
        const vectors = new Map(Array.from({ length: 60 }, (_, i) => [`v${i}`, draw([0.01, 1, 30][i % 3]!)]));
        await store.upsert(
          name,
          [...vectors].map(([id, vector]) => ({ id, vector })),
        );
        await fixture().settle();
        for (let i = 0; i < 5; i++) {
          const query = draw(1);
          const hits = await store.search(name, { vector: query, topK: 60 });
          assert.equal(hits.length, 60);
          for (const { id, score } of hits) assertScore(score, scoreOf(metric, vectors.get(id)!, query), id);
          assert.deepEqual(
            hits.map(({ score }) => score),
            hits.map(({ score }) => score).sort((a, b) => b - a),
          );
        }
      });

    test('scores worked out by hand', async () => {
      const vectors = { same: [1, 2, 2], opposite: [-1, -2, -2], other: [2, 0, 0] };
      const scores = {
        cosine: { same: 1, opposite: -1, other: 1 / 3 },
        euclidean: { same: 0, opposite: -6, other: -3 },
        dot: { same: 9, opposite: -9, other: 2 },
      };
      for (const metric of capabilities().metrics) {
        const store = fixture().store();
        const name = await fixture().collection({ metric });
        await store.upsert(
          name,
          Object.entries(vectors).map(([id, vector]) => ({ id, vector })),
        );
        await fixture().settle();
        const hits = await store.search(name, { vector: [1, 2, 2] });
        assert.deepEqual(
          hits.map(({ id }) => id),
          ['same', 'other', 'opposite'],
        );
        for (const { id, score } of hits) assertScore(score, scores[metric][id as 'same'], `${metric} ${id}`);
      }
    });

    test('a parallel vector has the cosine 1, an opposite one -1', async () => {
      if (!capabilities().metrics.includes('cosine')) return;
      const store = fixture().store();
      const name = await fixture().collection({ metric: 'cosine' });
      const records = { same: [1, 2, 3], longer: [1e6, 2e6, 3e6], shorter: [1e-6, 2e-6, 3e-6], opposite: [-1, -2, -3] };
      await store.upsert(
        name,
        Object.entries(records).map(([id, vector]) => ({ id, vector })),
      );
      await fixture().settle();
      for (const { id, score } of await store.search(name, { vector: [2, 4, 6] })) {
        assertScore(score, id === 'opposite' ? -1 : 1, id);
        assert.ok(score >= -1 && score <= 1);
      }
    });

    test('ties are in the order of their ids, by code point', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const ids = ['\ue000', '😀', 'a', 'B', 'é', 'b', '0'];
      await store.upsert(
        name,
        ids.map((id) => ({ id, vector: [1, 2, 3] })),
      );
      await fixture().settle();
      const hits = await store.search(name, { vector: [1, 2, 3] });
      assert.deepEqual(
        hits.map(({ id }) => id),
        ['0', 'B', 'a', 'b', 'é', '\ue000', '😀'],
      );
    });

    test('topK is kept, by default 10, and large ones are not cut', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const random = numbers(3);
      const records = Array.from({ length: 700 }, (_, i) => ({
        id: `r${i}`,
        vector: [random(), random(), random()],
        metadata: { i },
      }));
      await store.upsert(name, records);
      await fixture().settle();
      const vector = [1, 1, 1];
      assert.equal((await store.search(name, { vector })).length, 10);
      assert.equal((await store.search(name, { vector, topK: 3 })).length, 3);
      assert.equal((await store.search(name, { vector, topK: 500 })).length, 500);
      assert.equal((await store.search(name, { vector, topK: 701 })).length, 700);
      const few = await store.search(name, { vector, topK: 10, filter: { i: { $lt: 12 } } });
      assert.equal(few.length, 10);
      const rare = await store.search(name, { vector, topK: 10, filter: { i: { $in: [3, 333, 699] } } });
      assert.deepEqual(
        rare.map(({ metadata }) => metadata?.['i'] as number).sort((a, b) => a - b),
        [3, 333, 699],
      );
      const { maxTopK } = capabilities();
      for (const topK of [0, -1, 1.5, 10_001, '3', NaN])
        await rejects(store.search(name, { vector, topK: topK as number }), 'VALIDATION', 'topK');
      if (maxTopK < 10_000) await rejects(store.search(name, { vector, topK: maxTopK + 1 }), 'UNSUPPORTED', 'topK');
    });

    test('a small tenant beside a large one has all its hits', async () => {
      const [large, small] = [fixture().store('large'), fixture().store('small')];
      const name = await fixture().collection();
      const random = numbers(5);
      const record = (i: number) => ({ id: `r${i}`, vector: [random(), random(), random()] });
      await large.upsert(
        name,
        Array.from({ length: 600 }, (_, i) => record(i)),
      );
      await small.upsert(
        name,
        Array.from({ length: 7 }, (_, i) => record(i)),
      );
      await fixture().settle();
      assert.equal((await small.search(name, { vector: [1, 2, 3] })).length, 7);
      assert.deepEqual(
        await fixture()
          .store('absent')
          .search(name, { vector: [1, 2, 3] }),
        [],
      );
    });

    test('minScore is inclusive', async () => {
      const metric = 'euclidean';
      if (!capabilities().metrics.includes(metric)) return;
      const store = fixture().store();
      const name = await fixture().collection({ metric });
      await store.upsert(
        name,
        [1, 2, 3].map((x) => ({ id: `at${x}`, vector: [x, 0, 0] })),
      );
      await fixture().settle();
      const hits = await store.search(name, { vector: [1, 0, 0], minScore: -1 });
      assert.deepEqual(
        hits.map(({ id, score }) => [id, score]),
        [
          ['at1', 0],
          ['at2', -1],
        ],
      );
      await rejects(store.search(name, { vector: [1, 0, 0], minScore: NaN }), 'VALIDATION', 'minScore');
    });

    test('by the id of a record', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await store.upsert(name, [
        { id: 'x', vector: [1, 0, 0] },
        { id: 'near', vector: [1, 0.1, 0] },
        { id: 'far', vector: [-1, 0.1, 0.9] },
      ]);
      await fixture().settle();
      const hits = await store.search(name, { id: 'x', topK: 2 });
      assert.deepEqual(hits.map(({ id }) => id).sort(), ['near', 'x']);
      await rejects(store.search(name, { id: 'missing' }), 'NOT_FOUND', 'missing');
      await rejects(store.search(name, { id: 'x', namespace: 'other' }), 'NOT_FOUND');
      await rejects(store.search(name, {}), 'VALIDATION', 'a vector, an id or a text');
      await rejects(store.search(name, { id: 'x', vector: [1, 0, 0] }), 'VALIDATION', 'either');
    });

    test('what the provider does not have is UNSUPPORTED', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const vector = [1, 0, 0];
      const { exact, consistency } = capabilities();
      if (exact) assert.deepEqual(await store.search(name, { vector, exact: true }), []);
      else await rejects(store.search(name, { vector, exact: true }), 'UNSUPPORTED', 'exact');
      if (consistency === 'eventual')
        await rejects(store.search(name, { vector, consistency: 'session' }), 'UNSUPPORTED');
      else assert.deepEqual(await store.search(name, { vector, consistency: 'session' }), []);
      await rejects(store.search(name, { text: 'words' }), 'UNSUPPORTED', 'text');
      await rejects(store.search(name, { vector, filters: { a: 1 } } as never), 'VALIDATION', 'filters');
      await rejects(store.search(name, { vector, filter: undefined } as never), 'INVALID_FILTER');
    });
  });
}
