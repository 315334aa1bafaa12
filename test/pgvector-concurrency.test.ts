/** Vectors on a PostgreSQL server that others change meanwhile: deadlocks, locks of collections, a catalogue that is gone. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { SqlPool } from '../src/pools/pool.js';
import { storeOn } from '../src/testing/vector-target.js';
import type { VectorStore } from '../src/vectors/vector-store.js';
import { providerOn, tableOf } from './support/pgvector/fixture.js';
import { context, describeServer, Fixture, gate, rowsOf, until } from './support/postgres/fixture.js';

describeServer('the first collections of a database', () => {
  test('are made by several processes at once: the one that comes second finds the extension of the first', async () => {
    const fixture = await Fixture.open();
    try {
      const [first, second] = [await fixture.pool(), await fixture.pool()];
      let made: Promise<void> | undefined;
      await first.transaction({ context: context() }, async (session) => {
        await storeOn(providerOn(first), 'main', session).createCollection({ name: 'docs', dimension: 2 });
        made = storeOn(providerOn(second), 'main').createCollection({ name: 'notes', dimension: 2 });
        const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
        await until(async () => (await rowsOf(first, waiting)).length > 0);
      });
      await made;
      expect(await storeOn(providerOn(first), 'main').listCollections()).toEqual(['docs', 'notes']);
    } finally {
      await fixture.close();
    }
  });
});

describeServer('vectors that others change meanwhile', () => {
  let fixture: Fixture;
  let pool: SqlPool;
  let store: VectorStore;
  beforeAll(async () => {
    fixture = await Fixture.open();
    pool = await fixture.pool({ max: 6 }, fixture.deadlockUrl);
    store = storeOn(providerOn(pool), 'main');
  });
  afterAll(() => fixture.close());

  const waiting = async (): Promise<boolean> => {
    const text = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    return (await rowsOf(pool, text)).length > 0;
  };

  test.each(['upsert', 'load'] as const)('a batch of %s takes its records by code point', async (operation) => {
    const name = `sorted-${operation}`;
    await store.createCollection({ name, dimension: 2, index: { kind: 'none' } });
    const [a, b] = [
      { id: 'a', vector: [1, 2] },
      { id: 'B', vector: [1, 2] },
    ];
    const batch = await pool.transaction({ context: context() }, async (session) => {
      const inside = storeOn(providerOn(pool), 'main', session);
      await inside.upsert(name, [b]);
      const writing = store[operation](name, [a, b]);
      await until(waiting);
      // It waits for the first of its records and has none yet; sooner than a deadlock would be found.
      await rowsOf(pool, "SET LOCAL lock_timeout = '1s'", session);
      await inside.upsert(name, [a]);
      return { writing };
    });
    expect(await batch.writing).toMatchObject({ written: 2, failed: 0 });
  });

  test.each<[string, (name: string) => Promise<unknown>, unknown]>([
    [
      'upsert',
      (name) =>
        store.upsert(
          name,
          ['a', 'b'].map((id) => ({ id, vector: [1, 2], metadata: { by: 'us' } })),
        ),
      ['us', 'us'],
    ],
    ['delete', (name) => store.delete(name, { filter: { by: { $exists: true } } }), []],
  ])('the %s that a deadlock undid is run again', async (name, run, left) => {
    await store.createCollection({ name, dimension: 2, index: { kind: 'none' } });
    const original = ['a', 'b'].map((id) => ({ id, vector: [2, 1], metadata: { by: 'nobody' } }));
    await store.upsert(name, original);
    const table = await tableOf(providerOn(pool), name);
    const { passed: locked, open: hasLocked } = gate();
    const holder = pool.transaction({ context: context() }, async (session) => {
      // The other one is the one that looks for deadlocks first.
      await rowsOf(pool, "SET LOCAL deadlock_timeout = '60s'", session);
      await rowsOf(pool, `SELECT 1 FROM ${table} WHERE id = 'b' FOR UPDATE`, session);
      hasLocked();
      await until(waiting);
      // It has `a`, and waits for `b`.
      await rowsOf(pool, `SELECT 1 FROM ${table} WHERE id = 'a' FOR UPDATE`, session);
    });
    await locked;
    await run(name);
    await holder;
    expect((await store.list(name)).items.map(({ metadata }) => metadata?.['by'])).toEqual(left);
  });

  test('a collection that is there is not waited for while a transaction makes another', async () => {
    const spec = { name: 'there', dimension: 2 } as const;
    await store.createCollection(spec);
    await pool.transaction({ context: context() }, async (session) => {
      await storeOn(providerOn(pool), 'main', session).createCollection({ name: 'other', dimension: 2 });
      const bounds = { timeout: 10_000 };
      await store.createCollection(spec, bounds);
      await expect(store.createCollection({ ...spec, dimension: 3 }, bounds)).rejects.toMatchObject({
        code: 'CONFLICT',
      });
      expect(await store.deleteCollection('absent', bounds)).toBe(false);
    });
    expect(await store.count('other')).toBe(0);
  });

  test('a catalogue that is gone is made anew', async () => {
    const spec = { name: 'restored', dimension: 2 } as const;
    for (const lost of [
      () => store.createCollection(spec),
      async () => expect(await store.listCollections()).toEqual([]),
      async () => expect(await store.deleteCollection('restored')).toBe(false),
      () => expect(store.search('restored', { vector: [1, 2] })).rejects.toMatchObject({ code: 'NOT_FOUND' }),
      () => expect(store.describeCollection('restored')).rejects.toMatchObject({ code: 'NOT_FOUND' }),
    ]) {
      await store.createCollection(spec);
      await store.upsert('restored', [{ id: 'a', vector: [1, 2] }]);
      await pool.script('DROP SCHEMA quartermaster CASCADE', context());
      await lost();
    }
    await store.createCollection(spec);
    expect(await store.count('restored')).toBe(0);
    expect(await store.listCollections()).toEqual(['restored']);
  });
});
