/** Chroma: searches whose answer the server's index leaves short, while others write. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ChromaFixture, describeChroma } from './support/chroma/fixture.js';

const GET = /^POST .*\/get$/;
const MANY = 3_000;
const LONG = 300_000;

describeChroma('a search that the index leaves short', () => {
  let fixture: ChromaFixture;

  beforeAll(async () => {
    fixture = await ChromaFixture.open();
  });
  afterAll(() => fixture.close());

  test(
    'misses no record that stays, while others are deleted between the requests',
    async () => {
      const proxy = await fixture.proxy();
      const [store, other] = [await fixture.store({ url: proxy.url }), await fixture.store()];
      await store.createCollection({ name: 'docs', dimension: 2, metric: 'dot' });
      const ids = Array.from({ length: MANY }, (_, i) => `r${i}`);
      await other.upsert(
        'docs',
        ids.map((id, i) => ({ id, vector: [i + 1, 1], metadata: { isOdd: i % 2 === 1 } })),
      );
      // At the third request the matching ids are known, and not all records are read.
      let requests = 0;
      const meanwhile = async (): Promise<void> => {
        if (++requests === 3) await other.delete('docs', ids.slice(0, 500));
        else proxy.hold(GET, meanwhile);
      };
      proxy.hold(GET, meanwhile);
      const hits = await store.search('docs', { vector: [1, 1], topK: MANY });
      expect(requests).toBe(3);
      const found = new Set(hits.map(({ id }) => id));
      expect(ids.slice(500).filter((id) => !found.has(id))).toEqual([]);
      const odd = await store.search('docs', { vector: [1, 1], topK: MANY, filter: { isOdd: true } });
      expect(odd).toHaveLength((MANY - 500) / 2);
      expect(odd[0]).toEqual({ id: `r${MANY - 1}`, metadata: { isOdd: true }, score: MANY + 1 });
    },
    LONG,
  );
});
