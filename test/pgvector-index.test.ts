/** The index of vectors on a PostgreSQL server: built and dropped while others write, and found broken. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { SqlPool } from '../src/pools/pool.js';
import { numbers } from '../src/testing/vector-search.js';
import { storeOn } from '../src/testing/vector-target.js';
import type { VectorProvider } from '../src/vectors/provider.js';
import type { VectorRecord, VectorStore } from '../src/vectors/vector-store.js';
import { providerOn, tableOf } from './support/pgvector/fixture.js';
import { context, describeServer, Fixture, gate, until } from './support/postgres/fixture.js';

const DIMENSION = 32;

function records(from: number, count: number): VectorRecord[] {
  const random = numbers(from + 1);
  return Array.from({ length: count }, (_, i) => ({
    id: `v${from + i}`,
    vector: Float32Array.from({ length: DIMENSION }, random),
  }));
}

describeServer('the index of vectors', () => {
  let fixture: Fixture;
  let pool: SqlPool;
  let provider: VectorProvider;
  let store: VectorStore;
  beforeAll(async () => {
    fixture = await Fixture.open();
    pool = await fixture.pool();
    provider = providerOn(pool);
    store = storeOn(provider, 'main');
  });
  afterAll(() => fixture.close());

  async function indexesOf(name: string): Promise<readonly object[]> {
    const { rows } = await pool.query(
      'SELECT i.indisvalid AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid ' +
        "WHERE i.indrelid = $1::text::regclass AND c.relname LIKE '%_ann'",
      [await tableOf(provider, name)],
      context(),
    );
    return rows.map(({ valid }) => ({ valid }));
  }

  test('a load that defers it finds it built, and searches use it', async () => {
    await store.createCollection({ name: 'deferred', dimension: DIMENSION });
    const progress: number[] = [];
    await store.load('deferred', records(0, 3_000), {
      deferIndex: true,
      onProgress: ({ written }) => progress.push(written),
    });
    expect(progress.at(-1)).toBe(3_000);
    expect(await indexesOf('deferred')).toEqual([{ valid: true }]);
    const [{ vector }] = records(0, 1) as [VectorRecord];
    await pool.transaction({ context: context() }, async (session) => {
      // So few rows the planner would compare one by one.
      await pool.script('SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off', context({ session }));
      const explained = await storeOn(provider, 'main', session).search('deferred', { vector, topK: 1, explain: true });
      expect(explained).toMatchObject({ hits: [{ id: 'v0' }], scan: 'index', completed: false });
      expect(explained.plan).toMatch(/Index Scan using qm_v_deferred_[0-9a-f]{8}_ann/);
    });
    expect(await store.search('deferred', { vector, topK: 1, exact: true, explain: true })).toMatchObject({
      hits: [{ id: 'v0' }],
      scan: 'exact',
    });
  });

  test('those who write go on while it is built', async () => {
    await store.createCollection({
      name: 'written',
      dimension: DIMENSION,
      index: { kind: 'hnsw', efConstruction: 200 },
    });
    const schema = (await provider.describeCollection('written', context()))!;
    await provider.dropIndex!(schema, context());
    await store.load('written', records(0, 2_000));
    // A build waits for those who have written and have not committed, so it lasts for as long as this one.
    const { passed: isOver, open: end } = gate();
    const { passed: isWritten, open: hasWritten } = gate();
    const holder = pool.transaction({ context: context() }, async (session) => {
      await storeOn(provider, 'main', session).upsert('written', records(5_000, 1));
      hasWritten();
      await isOver;
    });
    await isWritten;
    let building = true;
    const build = store.buildIndex('written').finally(() => (building = false));
    await until(async () => (await indexesOf('written')).length > 0);
    let writes = 0;
    for (; writes < 10; writes++) await store.upsert('written', records(10_000 + writes, 1));
    expect(building).toBe(true);
    end();
    await holder;
    for (; building; writes++) await store.upsert('written', records(10_000 + writes, 1));
    await build;
    expect(await indexesOf('written')).toEqual([{ valid: true }]);
    expect(await store.count('written')).toBe(2_001 + writes);
  });

  test('what a build that failed left behind is built anew; several who build are one', async () => {
    await store.createCollection({ name: 'broken', dimension: DIMENSION });
    await store.load('broken', records(0, 500));
    await pool.query(
      'UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass',
      [(await tableOf(provider, 'broken')).replace(/"$/, '_ann"')],
      context(),
    );
    expect(await indexesOf('broken')).toEqual([{ valid: false }]);
    await Promise.all([store.buildIndex('broken'), store.buildIndex('broken')]);
    expect(await indexesOf('broken')).toEqual([{ valid: true }]);
  });

  test('one that the server has no memory for is refused in its words', async () => {
    const little = await fixture.pool(
      {},
      `${fixture.url}?options=${encodeURIComponent('-c maintenance_work_mem=1MB')}`,
    );
    const own = storeOn(providerOn(little), 'main');
    const index = { kind: 'ivfflat', lists: 1_000 } as const;
    await own.createCollection({ name: 'memory', dimension: DIMENSION, index });
    await expect(own.load('memory', records(0, 10), { deferIndex: true })).rejects.toMatchObject({
      message: expect.stringMatching(/call buildIndex: .*54000\): memory required is \d+ MB/) as unknown,
      details: { sqlstate: '54000' },
    });
    expect(await own.count('memory')).toBe(10);
  });

  test('a load that is refused leaves it alone, one that fails builds it again', async () => {
    await store.createCollection({ name: 'refused', dimension: DIMENSION });
    const index = (await tableOf(provider, 'refused')).replace(/"$/, '_ann"');
    const oid = async (): Promise<unknown> =>
      (await pool.query('SELECT to_regclass($1::text)::oid::bigint AS oid', [index], context())).rows[0]?.['oid'];
    const before = await oid();
    await expect(store.load('refused', [{ id: 'x', vector: [1] }], { deferIndex: true })).rejects.toMatchObject({
      code: 'VALIDATION',
    });
    expect(await oid()).toBe(before);
    function* failing(): Generator<VectorRecord> {
      yield* records(0, 10);
      throw new TypeError('no more');
    }
    await expect(store.load('refused', failing(), { deferIndex: true })).rejects.toThrow('no more');
    expect(await oid()).not.toBe(before);
    expect(await indexesOf('refused')).toEqual([{ valid: true }]);
  });

  test('loads that defer it at the same time leave a build that is under way to who builds', async () => {
    await store.createCollection({ name: 'together', dimension: DIMENSION });
    const loads = [0, 1, 2].map((i) => store.load('together', records(i * 1_000, 1_000), { deferIndex: true }));
    expect(await Promise.all(loads)).toEqual(Array(3).fill(expect.objectContaining({ written: 1_000, failed: 0 })));
    expect(await indexesOf('together')).toEqual([{ valid: true }]);
  });

  test('a load in a transaction is refused with the index as it is', async () => {
    await store.createCollection({ name: 'inside', dimension: DIMENSION });
    await expect(
      pool.transaction({ context: context() }, (session) =>
        storeOn(provider, 'main', session).load('inside', records(0, 1), { deferIndex: true }),
      ),
    ).rejects.toMatchObject({ code: 'VALIDATION', message: 'An index is built and dropped outside of transactions' });
    expect(await indexesOf('inside')).toEqual([{ valid: true }]);
  });

  test('a write that gathers statistics does not wait for a build', async () => {
    await store.createCollection({ name: 'counted', dimension: DIMENSION });
    const table = await tableOf(provider, 'counted');
    // What a build holds.
    await pool.transaction({ context: context() }, async (session) => {
      await pool.script(`LOCK TABLE ${table} IN SHARE UPDATE EXCLUSIVE MODE`, context({ session }));
      await store.upsert('counted', records(0, 1_001));
      expect(await store.count('counted')).toBe(1_001);
    });
  });

  test('the first use of a collection waits for nobody who has looked at another', async () => {
    await store.createCollection({ name: 'looked', dimension: DIMENSION });
    await pool.transaction({ context: context() }, async (session) => {
      await storeOn(providerOn(pool), 'main', session).count('looked');
      const other = storeOn(providerOn(pool), 'main');
      await other.createCollection({ name: 'beside', dimension: DIMENSION });
      expect(await storeOn(providerOn(pool), 'main').count('looked')).toBe(0);
    });
  });

  test('a load that is given up builds it again all the same', async () => {
    await store.createCollection({ name: 'aborted', dimension: DIMENSION });
    const controller = new AbortController();
    function* source(): Generator<VectorRecord> {
      yield* records(0, 2_500);
      controller.abort();
      yield* records(2_500, 2_500);
    }
    const load = store.load('aborted', source(), { deferIndex: true, signal: controller.signal });
    await expect(load).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await indexesOf('aborted')).toEqual([{ valid: true }]);
  });

  test('a build that does not end in time is tried once, and told with what was written', async () => {
    await store.createCollection({ name: 'late', dimension: DIMENSION });
    let builds = 0;
    const counting = Object.create(provider, {
      buildIndex: {
        value: (...given: Parameters<NonNullable<VectorProvider['buildIndex']>>) => {
          builds++;
          return provider.buildIndex!(...given);
        },
      },
    }) as VectorProvider;
    const late = storeOn(counting, 'main');
    const options = { deferIndex: true, indexTimeout: 1 };
    await expect(late.load('late', records(0, 2_000), options)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('The index of the collection late is missing, call buildIndex') as unknown,
      details: { collection: 'late', written: 2_000, failed: 0 },
    });
    expect(builds).toBe(1);
    function* failing(): Generator<VectorRecord> {
      yield* records(2_000, 10);
      throw new TypeError('no more');
    }
    await expect(late.load('late', failing(), options)).rejects.toMatchObject({
      code: 'TIMEOUT',
      cause: { message: 'no more' },
    });
    await store.buildIndex('late');
    expect(await indexesOf('late')).toEqual([{ valid: true }]);
    expect(await store.count('late')).toBe(2_000);
  });

  test('it is neither built nor dropped in a transaction', async () => {
    await store.createCollection({ name: 'inside', dimension: DIMENSION });
    const schema = (await provider.describeCollection('inside', context()))!;
    await pool.transaction({ context: context() }, async (session) => {
      const inside = context({ session });
      await expect(provider.buildIndex!(schema, inside)).rejects.toMatchObject({ code: 'VALIDATION' });
      await expect(provider.dropIndex!(schema, inside)).rejects.toMatchObject({ code: 'VALIDATION' });
    });
  });
});
