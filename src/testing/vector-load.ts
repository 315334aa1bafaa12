/** Loading many vectors, and telling how a search was done. */
import assert from 'node:assert/strict';
import type { VectorRecord } from '../vectors/vector-store.js';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

const HOSTILE = [
  'tab\there',
  'line\nfeed',
  'back\\slash',
  '\\N',
  '\u{1f600}',
  '"quoted"',
  "it's",
  '\u0001',
  ' padded ',
];

export function describeVectorLoad({ describe, test }: TestRunner, fixture: () => VectorFixture): void {
  describe('load', () => {
    const include = { vector: true } as const;

    test('leaves what upsert leaves', async () => {
      const store = fixture().store();
      const records = HOSTILE.map((text, i): VectorRecord => ({
        id: `${i}${text.trim()}`,
        vector: [i + 1, 1e-3 * i, -i],
        metadata: { text, nested: { list: [text, ''], flag: i % 2 === 0 }, number: i / 4 },
        ...(i % 2 === 0 ? { text } : {}),
      }));
      const [loaded, upserted] = [await fixture().collection(), await fixture().collection()];
      await store.upsert(upserted, records, { namespace: 'n' });
      const { written, failed, failures } = await store.load(loaded, records, { namespace: 'n' });
      assert.deepEqual([written, failed, failures], [records.length, 0, []]);
      await fixture().settle();
      const ids = records.map(({ id }) => id);
      const read = (name: string) => store.fetch(name, ids, { include, namespace: 'n' });
      assert.deepEqual(await read(loaded), await read(upserted));
      assert.equal(await store.count(loaded), 0);
    });

    test('replaces what is there, in any batch, and reports what cannot be stored', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await store.upsert(name, [{ id: 'r7', vector: [1, 1, 1], metadata: { old: true } }]);
      function* source(): Generator<VectorRecord> {
        for (let i = 0; i < 1_200; i++) yield { id: `r${i % 1_100}`, vector: [i + 1, 0, 0], metadata: { i } };
        yield { id: 'bad', vector: [Number.NaN, 0, 0] };
      }
      const written: number[] = [];
      const report = await store.load(name, source(), { onProgress: (progress) => written.push(progress.written) });
      assert.deepEqual([report.written, report.failed, report.failures[0]?.id], [1_200, 1, 'bad']);
      assert.equal(written.at(-1), 1_200);
      await fixture().settle();
      assert.equal(await store.count(name), 1_100);
      const [replaced, last] = await store.fetch(name, ['r7', 'r99'], { include });
      assert.deepEqual([replaced?.metadata, last?.metadata], [{ i: 1_107 }, { i: 1_199 }]);
    });

    test('with the index built afterwards, searches find all of it', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await store.load(
        name,
        Array.from({ length: 300 }, (_, i) => ({ id: `v${i}`, vector: [Math.cos(i), Math.sin(i), 1] })),
        { deferIndex: true },
      );
      await store.buildIndex(name);
      await fixture().settle();
      const hits = await store.search(name, { vector: [Math.cos(5), Math.sin(5), 1], topK: 3 });
      assert.equal(hits[0]?.id, 'v5');
      assert.equal((await store.search(name, { vector: [1, 0, 0], topK: 300 })).length, 300);
    });

    test('what it cannot be told is refused', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await rejects(store.load(name, [], { deferIndex: 1 as never }), 'VALIDATION', 'deferIndex');
      await rejects(store.load(name, [], { defer: true } as never), 'VALIDATION', 'defer');
      await rejects(store.load(name, 7 as never), 'VALIDATION', 'records');
      await rejects(store.load('missing', []), 'NOT_FOUND');
      await rejects(store.buildIndex('No name'), 'VALIDATION');
    });
  });

  test('explain tells how a search was done, with the same hits', async () => {
    const store = fixture().store();
    const name = await fixture().collection();
    await store.upsert(
      name,
      Array.from({ length: 30 }, (_, i) => ({ id: `v${i}`, vector: [i + 1, 1, 0], metadata: { even: i % 2 === 0 } })),
    );
    await fixture().settle();
    const query = { vector: [3, 1, 0], topK: 5, filter: { even: true } };
    if (fixture().provider.explain === undefined)
      return rejects(store.search(name, { ...query, explain: true }), 'UNSUPPORTED', 'explain');
    const { hits, scan, completed, plan } = await store.search(name, { ...query, explain: true });
    assert.deepEqual(hits, await store.search(name, query));
    assert.ok(scan === 'index' || scan === 'exact');
    assert.equal(completed, false);
    assert.ok(plan.length > 0);
    const none = await store.search(name, { ...query, filter: { even: { $in: [] } }, explain: true });
    assert.deepEqual(none.hits, []);
  });
}
