import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { nearest, readWordnet, WORDNET_DIMENSION, type Definition, type Wordnet } from '../examples/wordnet.js';
import type { SqlPool } from '../src/pools/pool.js';
import { scoreOf } from '../src/vectors/codec/score.js';
import type { CompiledFilter, Metric, VectorIndex, VectorProvider } from '../src/vectors/provider.js';
import {
  A,
  compiled,
  context,
  equal,
  everything,
  explaining,
  field,
  openProvider,
  providerOn,
  record,
  schemaOf,
  searchFor,
  type Opened,
  tableOf,
} from './support/pgvector/fixture.js';

const METRICS: readonly Metric[] = ['cosine', 'euclidean', 'dot'];
const wordnet = schemaOf('wordnet', WORDNET_DIMENSION, { fields: { links: 'number' } });
let opened: Opened;
let data: Wordnet;

beforeAll(async () => {
  [opened, data] = await Promise.all([openProvider(), readWordnet()]);
  await opened.provider.createCollection(wordnet, context());
  for (let from = 0; from < data.definitions.length; from += 500) {
    const batch = data.definitions.slice(from, from + 500);
    const records = batch.map(({ id, vector, partOfSpeech, domain, links }) =>
      record(id, [...vector], { partOfSpeech, domain, links }),
    );
    await opened.provider.upsert(wordnet, A, records, context());
  }
});
afterAll(() => opened.close());

async function recall(provider: VectorProvider, filter?: CompiledFilter, keep?: (d: Definition) => boolean) {
  let found = 0;
  let wanted = 0;
  for (const { vector } of data.queries) {
    const best = nearest(data.definitions, vector, 10, keep);
    const hits = await provider.search(wordnet, A, searchFor(vector, 10, { ...(filter && { filter }) }), context());
    const ids = new Set(hits.map(({ id }) => id));
    expect(ids.size).toBe(hits.length);
    found += best.filter(({ id }) => ids.has(id)).length;
    wanted += best.length;
  }
  return found / wanted;
}

type Filtered = readonly [string, CompiledFilter | undefined, ((d: Definition) => boolean) | undefined];
const FILTERS: readonly Filtered[] = [
  ['no filter', undefined, undefined],
  ['verbs', equal('partOfSpeech', 'verb'), ({ partOfSpeech }) => partOfSpeech === 'verb'],
  ['food', equal('domain', 'noun.food'), ({ domain }) => domain === 'noun.food'],
];

describe('recall@10 on WordNet', () => {
  test.each(FILTERS)('is at least 0.95 with %s', async (_name, filter, keep) => {
    expect(await recall(opened.provider, filter, keep)).toBeGreaterThanOrEqual(0.95);
  });

  test.each(FILTERS)(
    'is at least 0.95 with %s when the planner is left only the HNSW index',
    async (_n, filter, keep) => {
      const { pool } = opened;
      await pool.script('SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off', context());
      const plans: string[] = [];
      const explained = providerOn(
        explaining(pool, ({ text, plan }) => void (text.includes('+ 0') || plans.push(plan))),
      );
      try {
        expect(await recall(explained, filter, keep)).toBeGreaterThanOrEqual(0.95);
      } finally {
        await pool.script('RESET enable_sort; RESET enable_seqscan; RESET enable_bitmapscan', context());
      }
      expect(plans).toHaveLength(data.queries.length);
      for (const plan of plans) expect(plan).toMatch(/Index Scan using (qm_v_wordnet_[0-9a-f]{8})_ann on \1/);
    },
  );

  test('is 1 for an exact search, whatever the index', async () => {
    for (const { vector } of data.queries) {
      const exact = searchFor(vector, 10, { exact: true });
      const hits = await opened.provider.search(wordnet, A, exact, context());
      expect(hits.map(({ id }) => id)).toEqual(nearest(data.definitions, vector, 10).map(({ id }) => id));
    }
  });
});

describe('a search', () => {
  test('gives what was asked for beside the score, the closest first', async () => {
    const { id, vector, partOfSpeech, domain, links } = data.definitions[7]!;
    const [hit] = await opened.provider.search(wordnet, A, searchFor(vector, 3, { include: everything }), context());
    const score = expect.closeTo(1, 5) as unknown;
    expect(hit).toEqual({ id, vector, metadata: { partOfSpeech, domain, links }, score });
    const bare = await opened.provider.search(wordnet, A, searchFor(vector, 3), context());
    expect(bare.map((one) => Object.keys(one).sort())).toEqual(bare.map(() => ['id', 'score']));
  });

  test.each([500, 1_500])('for %i gives as many', async (topK) => {
    const { vector } = data.queries[0]!;
    const hits = await opened.provider.search(wordnet, A, searchFor(vector, topK), context());
    expect(new Set(hits.map(({ id }) => id)).size).toBe(topK);
    expect(hits.map(({ score }) => score)).toEqual(hits.map(({ score }) => score).sort((a, b) => b - a));
  });

  test('finds all that match where the index holds fewer than topK', async () => {
    const { vector } = data.queries[1]!;
    const filter = compiled({ op: 'gt', field: { ...field('links'), type: 'number' }, value: 20 });
    const keep = ({ links }: Definition): boolean => links > 20;
    const all = nearest(data.definitions, vector, 2_000, keep).map(({ id }) => id);
    const hits = await opened.provider.search(wordnet, A, searchFor(vector, 2_000, { filter }), context());
    expect(hits.map(({ id }) => id)).toEqual(all);
  });

  test('sees one tenant and one namespace alone', async () => {
    const { provider } = opened;
    const vector = data.queries[2]!.vector;
    const small = { tenant: 'small', namespace: 'n' };
    await provider.upsert(wordnet, small, [record('only', [...vector])], context());
    const ids = async (scope: typeof small): Promise<string[]> =>
      (await provider.search(wordnet, scope, searchFor(vector, 10), context())).map(({ id }) => id);
    expect(await ids(small)).toEqual(['only']);
    expect(await ids(A)).not.toContain('only');
    expect(await ids({ ...small, namespace: '' })).toEqual([]);
    expect(await ids({ ...A, tenant: 'absent' })).toEqual([]);
  });

  test('of an absent tenant compares with nothing', async () => {
    const plans: string[] = [];
    const explained = providerOn(explaining(opened.pool, ({ plan }) => plans.push(plan)));
    const request = searchFor(data.queries[0]!.vector, 10);
    for (let i = 0; i < 8; i++)
      await explained.search(wordnet, { tenant: 'absent', namespace: '' }, request, context());
    expect(plans).toHaveLength(16);
    for (const plan of plans) expect(plan).toMatch(/Index Scan using \S*pkey/);
  });
});

/** A search by the index: what the planner expected of its first row, and the pages that it read. */
async function scanned(efSearch: number): Promise<{ cost: number; pages: number }> {
  const plans: string[] = [];
  const watched = explaining(opened.pool, ({ plan }) => plans.push(plan), 'EXPLAIN (ANALYZE, BUFFERS)');
  await providerOn(watched, efSearch).search(wordnet, A, searchFor(data.queries[0]!.vector, 10), context());
  expect(plans).toHaveLength(1);
  const [, cost] = /Index Scan using qm_v_wordnet_[0-9a-f]{8}_ann on \S+ +\(cost=(\d+\.\d+)/.exec(plans[0]!)!;
  const [, pages] = /Buffers: shared hit=(\d+)/.exec(plans[0]!)!;
  return { cost: Number(cost), pages: Number(pages) };
}

test('for a tenant the planner expects the widest scan, and the scan is as wide as the settings say', async () => {
  const { pool } = opened;
  await pool.script('SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off', context());
  try {
    const [narrow, wide] = [await scanned(40), await scanned(1_000)];
    expect(narrow.cost).toBe(wide.cost);
    expect(narrow.pages).toBeLessThan(wide.pages / 2);
  } finally {
    await pool.script('RESET enable_sort; RESET enable_seqscan; RESET enable_bitmapscan', context());
  }
});

test('the planner knows how many rows a load has written', async () => {
  const text = 'SELECT reltuples::integer AS rows FROM pg_class WHERE oid = $1::text::regclass';
  const { rows } = await opened.pool.query(text, [await tableOf(opened.provider, 'wordnet')], context());
  // At 1,000 rows and again at 2,000.
  expect(rows).toEqual([{ rows: data.definitions.length }]);
});

test('what was written waits on few pages for the index of the metadata, since each search reads them all', async () => {
  const { pool, provider } = opened;
  const schema = schemaOf('waiting', 2, { index: { kind: 'none' } });
  await provider.createCollection(schema, context());
  const metadata = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, i]));
  const records = Array.from({ length: 500 }, (_, i) => record(`r${i}`, [1, i], { ...metadata, i }));
  for (const namespace of ['1', '2', '3']) await provider.upsert(schema, { ...A, namespace }, records, context());
  const table = (await tableOf(provider, 'waiting')).replaceAll('"', '');
  const text = `SELECT gin_clean_pending_list('${table}_metadata_idx'::regclass)::integer AS pages`;
  const [row] = (await pool.query(text, [], context())).rows;
  expect(row!['pages']).toBeLessThanOrEqual(256 / 8);
});

describe.each(METRICS)('the score of %s', (metric) => {
  test.each<VectorIndex>([{ kind: 'hnsw' }, { kind: 'ivfflat', lists: 4, probes: 2 }, { kind: 'none' }])(
    'is that of float64 with the index %j',
    async (index) => {
      const { provider } = opened;
      const schema = schemaOf(`scores-${metric}-${index.kind}`, WORDNET_DIMENSION, { metric, index });
      await provider.createCollection(schema, context());
      const vectors = data.definitions.slice(0, 200).map(({ vector }, i) => vector.map((x) => x * (0.5 + (i % 7))));
      const records = vectors.map((vector, i) => ({ id: `r${i}`, vector, metadata: {} }));
      const pair = [record('far', [1e6, ...vectors[0]!.slice(1)]), record('away', [...vectors[1]!.map((x) => -x)])];
      await provider.upsert(schema, A, [...records, ...pair], context());
      const stored = new Map([...records, ...pair].map(({ id, vector }) => [id, vector]));
      for (const exact of [false, true]) {
        const query = data.queries[3]!.vector.map((x) => x * 3);
        const hits = await provider.search(schema, A, searchFor(query, stored.size, { exact }), context());
        expect(hits).toHaveLength(stored.size);
        for (const { id, score } of hits) {
          const right = scoreOf(metric, query, stored.get(id)!);
          expect(Math.abs(score - right)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(right)));
        }
      }
      const [self] = await provider.search(schema, A, searchFor(vectors[5]!, 1, { exact: true }), context());
      if (metric !== 'dot') expect(self).toEqual({ id: 'r5', score: metric === 'cosine' ? expect.closeTo(1, 6) : 0 });
      expect(self!.score).toBeLessThanOrEqual(metric === 'cosine' ? 1 : Infinity);
    },
  );
});

test('statements of a search have no name: a kept plan would not see the tenant', async () => {
  const named: unknown[] = [];
  const { pool } = opened;
  const query: SqlPool['query'] = (text, parameters, inside, options) => {
    named.push(options?.name);
    return pool.query(text, parameters, inside);
  };
  const watched = Object.assign(Object.create(pool) as SqlPool, {
    query,
    script: pool.script.bind(pool),
    transaction: pool.transaction.bind(pool),
  });
  await providerOn(watched).search(wordnet, A, searchFor(data.queries[0]!.vector, 10), context());
  expect(named).toEqual([undefined]);
});
