/** Vectors of more than 2,000 dimensions: an index of fewer bits finds candidates, the whole vectors order them. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readWordnet, WORDNET_DIMENSION, type Wordnet } from '../examples/wordnet.js';
import { scoreOf } from '../src/vectors/codec/score.js';
import type { VectorSchema } from '../src/vectors/provider.js';
import { storeOn } from '../src/testing/vector-target.js';
import { numbers } from '../src/testing/vector-search.js';
import {
  A,
  context,
  equal,
  explaining,
  openProvider,
  providerOn,
  record,
  schemaOf,
  searchFor,
  type Opened,
} from './support/pgvector/fixture.js';
import { describeServer, Fixture } from './support/postgres/fixture.js';

const ROWS = 150;
const QUERIES = 8;
let opened: Opened;
let data: Wordnet;

beforeAll(async () => {
  [opened, data] = await Promise.all([openProvider(), readWordnet()]);
});
afterAll(() => opened.close());

/** Real embeddings in a larger space: a random rotation keeps their angles and distances. */
function rotation(dimension: number): (vector: Float32Array) => Float32Array {
  const random = numbers(dimension);
  const scale = Math.sqrt(3 / dimension);
  const rows = Array.from({ length: WORDNET_DIMENSION }, () =>
    Float32Array.from({ length: dimension }, () => random() * scale),
  );
  return (vector) => {
    const turned = new Float32Array(dimension);
    for (let i = 0; i < WORDNET_DIMENSION; i++) {
      const row = rows[i]!;
      for (let j = 0; j < dimension; j++) turned[j]! += vector[i]! * row[j]!;
    }
    return turned;
  };
}

async function recallOf(
  { pool, provider }: Pick<Opened, 'pool' | 'provider'>,
  schema: VectorSchema,
): Promise<{ readonly recall: number; readonly plans: string[] }> {
  await provider.createCollection(schema, context());
  const turn = rotation(schema.dimension);
  const rows = data.definitions.slice(0, ROWS).map(({ id, vector }) => record(id, [...turn(vector)]));
  for (let from = 0; from < ROWS; from += 100)
    await provider.upsert(schema, A, rows.slice(from, from + 100), context());
  const plans: string[] = [];
  const seen = providerOn(
    // In a transaction the search's settings are a statement of their own.
    explaining(pool, ({ text, plan }) => void (text.includes(`qm_v_${schema.name}_`) && plans.push(plan))),
  );
  let found = 0;
  await pool.transaction({ context: context() }, async (session) => {
    const inside = context({ session });
    // So few rows would be compared one by one.
    const narrowed = ['sort', 'seqscan', 'bitmapscan'].map((way) => `SET LOCAL enable_${way} = off`);
    await pool.script(narrowed.join('; '), inside);
    for (const { vector } of data.queries.slice(0, QUERIES)) {
      const query = turn(vector);
      const best = rows
        .map(({ id, vector: stored }) => ({ id, score: scoreOf(schema.metric, stored, query) }))
        .sort((a, b) => b.score - a.score)
        .slice(0, 10);
      const hits = await seen.search(schema, A, searchFor(query, 10), inside);
      expect(hits).toHaveLength(10);
      for (const hit of hits) {
        const of = best.find(({ id }) => id === hit.id);
        if (of === undefined) continue;
        found++;
        // The score is that of the whole vectors, not of what the index keeps.
        expect(Math.abs(hit.score - of.score)).toBeLessThan(1e-4 * Math.max(1, Math.abs(of.score)));
      }
    }
  });
  return { recall: found / (10 * QUERIES), plans };
}

async function expectRecall(on: Pick<Opened, 'pool' | 'provider'>, schema: VectorSchema): Promise<void> {
  const { recall, plans } = await recallOf(on, schema);
  expect(recall).toBeGreaterThanOrEqual(0.95);
  expect(plans).toHaveLength(QUERIES);
  for (const plan of plans) expect(plan).toMatch(new RegExp(`qm_v_${schema.name}_[0-9a-f]{8}_ann`));
}

test('recall@10 by an index of signs, 4,100 dimensions by default', () =>
  expectRecall(opened, schemaOf('bits', 4_100)));

// PGlite takes seconds for each of these indexes.
describeServer('recall@10 by an index of half precision', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  afterAll(() => fixture.close());

  test.each([
    ['2,048 dimensions by default', schemaOf('half', 2_048)],
    ['euclidean', schemaOf('halfl2', 2_100, { metric: 'euclidean' })],
    ['dot', schemaOf('halfip', 2_100, { metric: 'dot' })],
  ])('%s', async (_name, schema) => {
    const pool = await fixture.pool();
    await expectRecall({ pool, provider: providerOn(pool) }, schema);
  });
});

test('a scan that gave up with fewer candidates than it was asked for is completed', async () => {
  const { pool, provider } = opened;
  const schema = schemaOf('short', 32, { index: { kind: 'hnsw', quantize: 'bit' } });
  await provider.createCollection(schema, context());
  const random = numbers(32);
  const vectorOf = (): number[] => Array.from({ length: 32 }, () => random() - 0.5);
  const rows = Array.from({ length: 1_000 }, (_, i) => record(`r${i}`, vectorOf(), { tenth: i % 10 === 0 }));
  for (const from of [0, 500]) await provider.upsert(schema, A, rows.slice(from, from + 500), context());
  // So few rows would be compared one by one, and no scan of them gives up.
  await pool.script('SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off', context());
  await pool.script('SET hnsw.max_scan_tuples = 300', context());
  try {
    const query = { ...searchFor(vectorOf(), 10), filter: equal('tenth', true) };
    const explained = await storeOn(provider, A.tenant).search('short', {
      ...{ vector: query.vector, topK: 10, filter: { tenth: true }, explain: true },
    });
    expect(explained).toMatchObject({ scan: 'index', completed: true });
    const [found, exact] = [query, { ...query, exact: true }].map((one) => provider.search(schema, A, one, context()));
    expect(await found).toEqual(await exact);
  } finally {
    await pool.script('RESET enable_sort; RESET enable_seqscan; RESET enable_bitmapscan', context());
    await pool.script('RESET hnsw.max_scan_tuples', context());
  }
});

describe('what half precision cannot hold is refused before any I/O', () => {
  const beyond = /records\[0\]\.vector: the vector has a component beyond 65504/;
  test.each([
    ['a component beyond 65,504', 'cosine', [65_505, 1, 1], beyond],
    ['a direction it would lose', 'cosine', [1e-6, 1e-6, 1e-6], /would lose its direction/],
    ['a direction it would lose, by dot', 'dot', [1e-8, 0, 0], /would lose its direction/],
    ['a direction it would lose, by distance', 'euclidean', [1e-8, 0, 0], /would lose its direction/],
  ] as const)('%s', async (_what, metric, vector, message) => {
    const store = storeOn(opened.provider, 'a');
    const name = `halves-${metric}`;
    await store.createCollection({ name, dimension: 3, metric, index: { kind: 'hnsw', quantize: 'half' } });
    await expect(store.upsert(name, [{ id: 'x', vector }])).rejects.toMatchObject({
      code: 'VALIDATION',
      message: expect.stringMatching(message) as unknown,
    });
    await expect(store.search(name, { vector })).rejects.toMatchObject({ code: 'VALIDATION' });
    await store.upsert(name, [{ id: 'y', vector: [65_504, 1, 1] }]);
    expect(await store.search(name, { vector: [1, 0, 0] })).toMatchObject([{ id: 'y' }]);
  });
});
