/** What pgvector alone can get wrong: approximate scans, transactions, races, tables that another process has changed. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import { memory } from '../src/pools/memory.js';
import { pglite } from '../src/pools/pglite/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { storeOn } from '../src/testing/vector-target.js';
import { pgvector } from '../src/vectors/pgvector.js';
import type { VectorProvider } from '../src/vectors/provider.js';
import { readWordnet } from '../examples/wordnet.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';
import { tableOf } from './support/pgvector/fixture.js';

const context = (): OperationContext => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
let pool: SqlPool;
let provider: VectorProvider;
const another = (): VectorProvider => pgvector.create({}, { clock, name: 'vectors:pgvector', pool });

beforeAll(async () => {
  pool = pglite.create(PGLITE_IN_MEMORY, {}, { clock, name: 'main' });
  await pool.open({ clock, signal: new AbortController().signal });
  provider = another();
});
afterAll(() => pool.close(clock.monotonic() + 5_000));

test('a pool that does not speak PostgreSQL is refused', () => {
  const environment = { clock, name: 'vectors:pgvector' };
  const other = memory.create('memory:', { seed: null }, { clock, name: 'main' });
  expect(() => pgvector.create({}, { ...environment, pool: other })).toThrow(/PostgreSQL/);
  expect(() => pgvector.create({}, environment)).toThrow(/PostgreSQL/);
});

test.each([
  ['0.7.4', false],
  ['0.8.0', true],
  ['0.10.1', true],
  ['1.0.0', true],
])('an extension of the release %s will do: %s', async (extversion, willDo) => {
  const query: SqlPool['query'] = async (text, ...rest) =>
    text.includes('extversion') ? { rows: [{ extversion }], affected: 0 } : pool.query(text, ...rest);
  const released = new Proxy(pool, {
    get(target, key) {
      const value: unknown = key === 'query' ? query : Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const store = storeOn(pgvector.create({}, { clock, name: 'vectors:pgvector', pool: released }), 'main');
  const creating = store.createCollection({ name: 'released', dimension: 2 });
  if (willDo) await creating;
  else await expect(creating).rejects.toMatchObject({ code: 'UNSUPPORTED', details: { version: extversion } });
  const tables = "SELECT 1 FROM pg_tables WHERE tablename LIKE 'qm_v_released_%'";
  const { rows } = await pool.query(tables, [], context());
  expect([rows.length, await store.deleteCollection('released')]).toEqual(willDo ? [1, true] : [0, false]);
});

describe('on real embeddings', () => {
  const store = () => storeOn(provider, 'main');
  const kinds = {
    hnsw: { kind: 'hnsw' },
    ivfflat: { kind: 'ivfflat', lists: 20, probes: 10 },
    none: { kind: 'none' },
  } as const;
  let queries: Awaited<ReturnType<typeof readWordnet>>['queries'];

  beforeAll(async () => {
    const wordnet = await readWordnet();
    queries = wordnet.queries.slice(0, 25);
    const records = wordnet.definitions.map(({ id, vector, partOfSpeech, domain }, i) => ({
      id,
      vector,
      metadata: { partOfSpeech, domain, tenth: i % 10 === 0, i },
    }));
    for (const [kind, index] of Object.entries(kinds)) {
      await store().createCollection({ name: kind, dimension: 384, metric: 'cosine', index, fields: { i: 'number' } });
      await store().upsert(kind, records);
    }
  });

  /** The mean share of the exact answer that a search finds. */
  async function recall(name: string, filter?: Record<string, unknown>): Promise<number> {
    let found = 0;
    let wanted = 0;
    for (const { vector } of queries) {
      const request = { vector, topK: 10, ...(filter === undefined ? {} : { filter }) };
      const exact = await store().search(name, { ...request, exact: true });
      const hits = await store().search(name, request);
      expect(hits.length).toBe(exact.length);
      wanted += exact.length;
      found += exact.filter(({ id }) => hits.some((hit) => hit.id === id)).length;
    }
    return found / wanted;
  }

  test.each([
    ['no filter', undefined],
    ['a tenth of the rows', { tenth: true }],
    ['verbs', { partOfSpeech: 'verb' }],
    ['food', { domain: 'noun.food' }],
    ['a range', { i: { $lt: 100 } }],
  ])('hnsw finds the neighbours under %s', async (_name, filter) => {
    expect(await recall('hnsw', filter)).toBeGreaterThanOrEqual(0.95);
  });

  test('ivfflat and none answer as well', async () => {
    expect(await recall('none')).toBe(1);
    expect(await recall('ivfflat', { tenth: true })).toBeGreaterThan(0.5);
  });

  test('the index is used for a large tenant, and the primary key for an absent one', async () => {
    const explain = async (tenant: string): Promise<string> => {
      const text = `EXPLAIN SELECT id FROM ${await tableOf(provider, 'hnsw')} WHERE tenant = $1::text AND namespace = $2::text ORDER BY embedding <=> $3::text::vector LIMIT 10`;
      const { rows } = await pool.query(text, [tenant, '', JSON.stringify([...queries[0]!.vector])], context());
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    expect(await explain('main')).toMatch(/qm_v_hnsw_[0-9a-f]{8}_ann/);
    expect(await explain('absent')).toMatch(/qm_v_hnsw_[0-9a-f]{8}_pkey/);
  });
});

describe('in a transaction', () => {
  test('what is written is seen inside, and gone after a rollback', async () => {
    const outside = storeOn(provider, 'main');
    await outside.createCollection({ name: 'undone', dimension: 2 });
    await outside.upsert('undone', [{ id: 'a', vector: [1, 0] }]);
    const rollback = new Error('rollback');
    await expect(
      pool.transaction({ context: context() }, async (session) => {
        const inside = storeOn(provider, 'main', session);
        await inside.upsert('undone', [{ id: 'b', vector: [0, 1] }]);
        await inside.createCollection({ name: 'never', dimension: 2 });
        await inside.upsert('never', [{ id: 'x', vector: [1, 1] }]);
        expect(await inside.count('undone')).toBe(2);
        expect(await inside.search('undone', { vector: [0, 1] })).toHaveLength(2);
        throw rollback;
      }),
    ).rejects.toBe(rollback);
    expect(await outside.count('undone')).toBe(1);
    await expect(outside.count('never')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('searches at once leave the settings of the scan as they were', async () => {
    const store = storeOn(provider, 'main');
    await store.createCollection({ name: 'settings', dimension: 2 });
    await store.upsert('settings', [{ id: 'a', vector: [1, 0] }]);
    const read = async (inside: OperationContext): Promise<unknown> => {
      const text = "SELECT current_setting('hnsw.iterative_scan') AS scan, current_setting('hnsw.ef_search') AS ef";
      return (await pool.query(text, [], inside)).rows[0];
    };
    await pool.transaction({ context: context() }, async (session) => {
      const inside = { ...context(), session };
      await pool.script('SET LOCAL hnsw.ef_search = 77', inside);
      const handle = storeOn(provider, 'main', session);
      const filter = { kind: 'x' };
      await Promise.all([1, 2, 3].map((topK) => handle.search('settings', { vector: [1, 0], topK, filter })));
      await handle.search('settings', { vector: [1, 0] });
      expect(await read(inside)).toEqual({ scan: 'off', ef: '77' });
    });
    expect(await read(context())).toEqual({ scan: 'off', ef: '40' });
  });
});

describe('beside another process', () => {
  test('a collection made anew with another metric is noticed', async () => {
    const [here, there] = [storeOn(provider, 'main'), storeOn(another(), 'main')];
    await here.createCollection({ name: 'anew', dimension: 2, metric: 'cosine' });
    await here.upsert('anew', [{ id: 'a', vector: [3, 4] }]);
    expect((await here.search('anew', { vector: [3, 4] }))[0]?.score).toBeCloseTo(1);
    await there.deleteCollection('anew');
    await expect(here.count('anew')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await there.createCollection({ name: 'anew', dimension: 2, metric: 'euclidean' });
    await there.upsert('anew', [{ id: 'a', vector: [3, 4] }]);
    expect((await here.search('anew', { vector: [0, 0.5] }))[0]?.score).toBeCloseTo(-Math.hypot(3, 3.5));
    await there.deleteCollection('anew');
    await there.createCollection({ name: 'anew', dimension: 3 });
    expect(await here.search('anew', { vector: [1, 2, 3] })).toEqual([]);
  });

  test('the same collection is made by many at once', async () => {
    const stores = Array.from({ length: 6 }, () => storeOn(another(), 'main'));
    await Promise.all(stores.map((store) => store.createCollection({ name: 'raced', dimension: 2 })));
    expect(await stores[0]!.count('raced')).toBe(0);
  });
});

test('a collection that is made anew has its own statistics as soon as the first one had', async () => {
  const store = storeOn(provider, 'main');
  const fill = (count: number) =>
    store.upsert(
      'counted',
      Array.from({ length: count }, (_, i) => ({ id: `r${i}`, vector: [i + 1, 1] })),
    );
  const spec = { name: 'counted', dimension: 2, index: { kind: 'none' } } as const;
  await store.createCollection(spec);
  for (let i = 0; i < 2; i++) await fill(1_000);
  await store.deleteCollection('counted');
  await store.createCollection(spec);
  await fill(1_000);
  const text = 'SELECT reltuples::bigint AS rows FROM pg_class WHERE oid = $1::text::regclass';
  const { rows } = await pool.query(text, [await tableOf(provider, 'counted')], context());
  expect(Number(rows[0]?.['rows'])).toBe(1_000);
});

describe('large rows', () => {
  test('2,000 dimensions with the longest keys, metadata and text', async () => {
    const store = storeOn(provider, 't'.repeat(255));
    await store.createCollection({ name: 'wide', dimension: 2_000 });
    const vector = Float32Array.from({ length: 2_000 }, (_, i) => Math.sin(i) * 1e3 + 1.23456789e-5);
    const noise = Array.from({ length: 20_000 }, (_, i) => String.fromCodePoint(33 + ((i * 7_919) % 90))).join('');
    const metadata = { noise: noise.replaceAll(/["\\]/g, '') };
    const record = { id: 'i'.repeat(512), vector, metadata, text: noise };
    await store.upsert('wide', [record], { namespace: 'n'.repeat(255) });
    const include = { vector: true };
    const read = await store.get('wide', record.id, { namespace: 'n'.repeat(255), include });
    expect([...read.vector!]).toEqual([...vector]);
    expect(read).toMatchObject({ metadata, text: noise });
  });

  test('more dimensions without an index are exact', async () => {
    const store = storeOn(provider, 'main');
    await store.createCollection({ name: 'wider', dimension: 3_072, index: { kind: 'none' } });
    const vector = Float32Array.from({ length: 3_072 }, (_, i) => Math.cos(i));
    await store.upsert('wider', [{ id: 'a', vector }]);
    expect((await store.search('wider', { vector }))[0]?.score).toBeCloseTo(1, 4);
  });
});
