/** What the operations do to PostgreSQL: on PGlite and, with a second client, on a server. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PGlite } from '@electric-sql/pglite';
import type { Pool } from 'pg';
import { defineCollection, openStorage, type Operations, type StorageManager } from '../src/index.js';
import { createTestDatabase } from '../src/pools/postgres/test-database.js';
import { AheadClock, openOn } from './support/ahead-clock.js';
import { describeServer, serverUrl, until } from './support/postgres/fixture.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

const Parts = defineCollection<{ kind: string; size: number }>({
  name: 'parts',
  fields: { kind: 'string', size: 'number' },
  indexes: [{ keys: ['kind'] }, { keys: ['size'] }],
  id: 'given',
});

const open = (url: string): Promise<StorageManager> => openStorage({ databases: { main: url } }, { environment: {} });

function fill(storage: StorageManager, count: number, from = 0): Promise<unknown> {
  const items = Array.from({ length: count }, (_, i) => ({
    id: `part${from + i}`,
    value: { kind: `kind ${i % 10}`, size: i, filling: 'x'.repeat(300) },
  }));
  return storage.collection(Parts).load(items);
}

async function statsOf(operations: Operations, exact: boolean) {
  const { collections } = await operations.stats({ exact });
  return collections.find(({ collection }) => collection === 'parts')!;
}

/** Whichever client it is. */
async function run(storage: StorageManager, text: string): Promise<readonly Record<string, unknown>[]> {
  return (await storage.sql<Pool & PGlite>().query(text)).rows as Record<string, unknown>[];
}

/** Several statements on one connection. */
async function script(storage: StorageManager, text: string): Promise<void> {
  const client = storage.sql<Pool | PGlite>();
  if ('exec' in client) await client.exec(text);
  else await client.query(text);
}

function describeOperations(prepare: () => Promise<{ url: string; drop: () => Promise<void> }>): void {
  let storage: StorageManager;
  let operations: Operations;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    storage = await open(prepared.url);
    operations = storage.operations();
    await fill(storage, 3_000);
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });

  test('stats counts where nothing was gathered or it is asked to, and estimates after an analyze', async () => {
    expect(await statsOf(operations, true)).toMatchObject({ records: 3_000, exact: true });
    await operations.analyze({ collection: Parts });
    const estimate = await statsOf(operations, false);
    expect(estimate).toMatchObject({ records: 3_000, exact: false });
    expect(estimate.bytes).toBeGreaterThan(3_000 * 300);
    expect(estimate.indexBytes).toBeGreaterThan(3_000 * 20);
    await fill(storage, 3_000, 3_000);
    // By the pages that were added, of which some rows have found room in those that were there.
    const { records } = await statsOf(operations, false);
    expect(records).toBeGreaterThan(4_000);
    expect(records).toBeLessThan(8_000);
    expect(await operations.databaseSize()).toBeGreaterThan(estimate.bytes + estimate.indexBytes);
  });

  test('vacuum frees the rows that were deleted, and with full their room', async () => {
    await storage.collection(Parts).deleteWhere({ size: { $gte: 100 } });
    const before = await statsOf(operations, true);
    expect(before.records).toBe(200);
    // A connection may tell what it has deleted seconds later: it counts as dead then, though a vacuum has come before.
    await until(async () => {
      await operations.vacuum({ collection: 'parts', analyze: true });
      const text = "SELECT n_dead_tup::int AS dead FROM pg_stat_all_tables WHERE relname = 'parts'";
      return (await run(storage, text))[0]!['dead'] === 0;
    });
    await operations.vacuum({ collection: Parts, full: true });
    expect((await statsOf(operations, true)).bytes).toBeLessThan(before.bytes / 5);
    const table = (await operations.tables()).find(({ collection }) => collection === 'parts')!;
    expect(table).toMatchObject({ schema: 'quartermaster', name: 'parts', records: 200 });
    expect(table.vacuumedAt).toBeInstanceOf(Date);
    expect(Date.now() - table.analyzedAt!.getTime()).toBeLessThan(120_000);
    await operations.vacuum();
    expect(await operations.checkpoint()).toEqual({ complete: true });
  });

  test('tables are all of them, those of the host too', async () => {
    await run(storage, 'CREATE TABLE "Of the ""host""" (n int)');
    const tables = await operations.tables();
    const own = tables.find(({ schema }) => schema === 'public');
    expect(own).toMatchObject({ name: 'Of the "host"', records: 0, bytes: expect.any(Number) as unknown });
    expect(own).not.toHaveProperty('collection');
    expect(own).not.toHaveProperty('vacuumedAt');
    expect(tables.some(({ schema }) => schema!.startsWith('pg_'))).toBe(false);
  });

  test('an index that nobody asks for is unused, one that a query takes is not', async () => {
    const unused = () => operations.unusedIndexes({ collection: Parts });
    const indexes = await operations.indexes({ collection: Parts });
    expect(indexes).toHaveLength(4);
    const byKind = indexes.find(({ definition }) => definition.includes("'kind'"))!;
    expect(byKind).toMatchObject({ schema: 'quartermaster', table: 'parts', collection: 'parts', valid: true });
    expect(indexes.filter(({ unique }) => unique).map(({ name }) => name)).toEqual(['parts_pkey']);
    expect((await unused()).map(({ name }) => name)).toContain(byKind.name);
    expect((await unused()).every(({ unique, uses }) => !unique && uses === 0)).toBe(true);
    await script(
      storage,
      'CREATE TABLE numbers (n int, m int); INSERT INTO numbers SELECT g, g FROM generate_series(1, 10000) g; ' +
        'CREATE INDEX by_n ON numbers (n); CREATE INDEX by_m ON numbers (m); ANALYZE numbers',
    );
    await script(storage, 'SELECT m FROM numbers WHERE n = 77; SELECT pg_stat_force_next_flush()');
    const names = async () => (await operations.unusedIndexes()).map(({ name }) => name);
    // Figures are told by a connection once it is idle.
    while ((await names()).includes('by_n')) await script(storage, 'SELECT pg_stat_force_next_flush()');
    expect(await names()).toContain('by_m');
  });

  test('an index that could not be built is invalid until it is built anew', async () => {
    await run(storage, 'CREATE TABLE doubled (n int)');
    await run(storage, 'INSERT INTO doubled VALUES (1), (1)');
    await expect(run(storage, 'CREATE UNIQUE INDEX CONCURRENTLY "doubled N" ON doubled (n)')).rejects.toThrow();
    const [invalid, ...others] = await operations.invalidIndexes();
    expect(others).toEqual([]);
    expect(invalid).toMatchObject({ schema: 'public', name: 'doubled N', table: 'doubled', valid: false });
    await expect(operations.reindex({ index: invalid! })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await run(storage, 'DELETE FROM doubled WHERE ctid = (SELECT min(ctid) FROM doubled)');
    await operations.reindex({ index: { name: 'doubled N' } });
    expect((await operations.invalidIndexes()).filter(({ name }) => name === 'doubled N')).toEqual([]);
    await expect(operations.reindex({ index: { name: 'nothing"' } })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('reindex builds all indexes of a collection anew', async () => {
    const files = async () => {
      const rows = await run(
        storage,
        "SELECT relname::text AS name, relfilenode::int AS file FROM pg_class WHERE relkind = 'i' AND relname LIKE 'parts\\_%'",
      );
      return new Map(rows.map(({ name, file }) => [name, file]));
    };
    const before = await files();
    await operations.reindex({ collection: Parts });
    const after = await files();
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
    for (const [name, file] of after) expect(file).not.toBe(before.get(name));
    await expect(operations.reindex({ collection: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(operations.vacuum({ collection: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(operations.vacuum({ collection: 'a" b' })).rejects.toMatchObject({ code: 'VALIDATION' });
    await expect(operations.vacuum({ collection: 'pg_class' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('extensions are told and installed, all of those that are asked for or none', async () => {
    const known = await operations.extensions();
    expect(known.find(({ name }) => name === 'plpgsql')).toEqual({
      name: 'plpgsql',
      version: '1.0',
      availableVersion: '1.0',
    });
    expect(known.find(({ name }) => name === 'vector')!.availableVersion).toMatch(/^0\./);
    await run(storage, 'DROP EXTENSION IF EXISTS vector');
    await expect(operations.ensureExtensions({ names: ['vector', 'no_such'] })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      details: { absent: ['no_such'] },
    });
    const version = async () => (await operations.extensions()).find(({ name }) => name === 'vector')!.version;
    expect(await version()).toBeUndefined();
    await Promise.all([1, 2, 3].map(() => operations.ensureExtensions({ names: ['vector', 'plpgsql'] })));
    expect(await version()).toMatch(/^0\./);
    await expect(operations.ensureExtensions({ names: ['a"b'] })).rejects.toMatchObject({ code: 'VALIDATION' });
  });

  test('an operation inside of a transaction is refused', async () => {
    await storage.transaction(async (tx) => {
      await tx.collection(Parts).count();
      await expect(operations.vacuum()).rejects.toMatchObject({ code: 'VALIDATION' });
    });
  });
}

describe('operations of PGlite', () => {
  describeOperations(async () => ({ url: PGLITE_IN_MEMORY, drop: async () => {} }));

  test('see one connection, which nobody blocks', async () => {
    await using storage = await open(PGLITE_IN_MEMORY);
    const operations = storage.operations();
    const [only, ...others] = await operations.connections();
    expect(others).toEqual([]);
    expect(only).toMatchObject({ state: 'active', connectedAt: expect.any(Date) as unknown });
    expect(await operations.currentOperations()).toEqual([]);
    expect(await operations.blocking()).toEqual([]);
  });
});

describeServer('operations of a server', () => {
  describeOperations(() => createTestDatabase(serverUrl));

  test('see who is connected, what runs and who blocks whom, and end what nobody waits for', async () => {
    const { url, drop } = await createTestDatabase(serverUrl);
    const storage = await open(url);
    try {
      const operations = storage.operations();
      const pool = storage.sql<Pool>();
      await pool.query('CREATE TABLE account (id int PRIMARY KEY, owner text); ');
      await pool.query("INSERT INTO account VALUES (1, 'a')");
      const holder = await pool.connect();
      const waiter = await pool.connect();
      const pidOf = async (client: typeof holder) =>
        String((await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid);
      const [holding, waiting] = [await pidOf(holder), await pidOf(waiter)];
      await holder.query("SET application_name = 'the holder'");
      await holder.query('BEGIN');
      await holder.query('UPDATE account SET owner = $1 WHERE id = 1', ['a secret']);
      const blocked = waiter.query('UPDATE account SET owner = $1 WHERE id = 1', ['another secret']);
      let found = await operations.blocking();
      while (found.length === 0) found = await operations.blocking();
      expect(found).toMatchObject([
        {
          id: waiting,
          state: 'active',
          text: 'UPDATE account SET owner = $1 WHERE id = 1',
          waitsFor: 'Lock: transactionid',
          blockedBy: [{ id: holding, application: 'the holder', state: 'idle in transaction' }],
        },
      ]);
      expect(JSON.stringify(found)).not.toContain('secret');
      expect(found[0]!.startedAt).toBeInstanceOf(Date);
      expect(found[0]!.age).toBeGreaterThan(0);
      const all = await operations.connections();
      expect(all.find(({ id }) => id === holding)).toMatchObject({
        user: 'postgres',
        application: 'the holder',
        state: 'idle in transaction',
        transactionStartedAt: expect.any(Date) as unknown,
      });
      // The server may look after the tables at this moment, too.
      const running = (await operations.currentOperations()).map(({ id }) => id);
      expect(running).toContain(waiting);
      expect(running).not.toContain(holding);
      expect(await operations.currentOperations({ longerThan: 3_600_000 })).toEqual([]);
      await expect(operations.currentOperations({ longerThan: -1 })).rejects.toMatchObject({ code: 'VALIDATION' });

      // Both have the table in use: what waits for it is ended at its time, and by its caller.
      await expect(operations.vacuum({ full: true, timeout: 200 })).rejects.toMatchObject({ code: 'TIMEOUT' });
      const stop = new AbortController();
      const vacuum = operations.vacuum({ full: true, signal: stop.signal });
      let queued = await operations.currentOperations();
      while (!queued.some(({ text }) => text.startsWith('VACUUM'))) queued = await operations.currentOperations();
      stop.abort();
      await expect(vacuum).rejects.toMatchObject({ code: 'ABORTED' });
      await holder.query('COMMIT');
      await blocked;
      holder.release();
      waiter.release();
      await operations.vacuum({ full: true });
    } finally {
      await storage.close();
      await drop();
    }
  });

  test('may take longer than the time of an operation', async () => {
    const { url, drop } = await createTestDatabase(serverUrl);
    const clock = new AheadClock();
    const storage = await openOn(clock, { databases: { main: url }, lifecycle: { operationTimeout: 30_000 } });
    try {
      const pool = storage.sql<Pool>();
      await pool.query('CREATE TABLE held (n int)');
      const holder = await pool.connect();
      await holder.query('BEGIN; LOCK TABLE held');
      const vacuum = storage.operations().vacuum({ full: true });
      await until(async () => (await storage.operations().blocking()).length > 0);
      clock.skip(60_000);
      await holder.query('COMMIT');
      holder.release();
      await vacuum;
    } finally {
      await storage.close();
      await drop();
    }
  });
});
