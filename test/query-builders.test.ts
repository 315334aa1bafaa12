/** Drizzle and Kysely over the clients that `storage.sql()` gives. */
import type { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type Sqlite from 'better-sqlite3';
import { eq, sql as raw } from 'drizzle-orm';
import { drizzle as drizzleSqlite } from 'drizzle-orm/better-sqlite3';
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite';
import * as sqlite from 'drizzle-orm/sqlite-core';
import { Kysely, PostgresDialect, sql, SqliteDialect, type Generated } from 'kysely';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { AheadClock, openOn } from './support/ahead-clock.js';
import { describeServer, Fixture, until } from './support/postgres/fixture.js';
import { describeEngine } from './support/sqlite/engines.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });
const accounts = pgTable('accounts', { id: integer('id').primaryKey(), name: text('name').notNull() });
const sqliteAccounts = sqlite.sqliteTable('accounts', {
  id: sqlite.integer('id').primaryKey(),
  name: sqlite.text('name').notNull(),
});
const TABLE = 'CREATE TABLE accounts (id integer PRIMARY KEY, name text NOT NULL)';

interface Tables {
  accounts: { id: Generated<number> | number; name: string };
}

const undone = new Error('undone');
const open = (main: object | string): Promise<StorageManager> =>
  openStorage({ databases: { main } } as never, { environment: {} });

/** Insert, select, a unique violation, a transaction that is kept and one that is not. */
async function checkKysely(db: Kysely<Tables>): Promise<void> {
  await db
    .insertInto('accounts')
    .values([
      { id: 1, name: 'ann' },
      { id: 2, name: 'bob' },
    ])
    .execute();
  const again = db.insertInto('accounts').values({ id: 1, name: 'eve' }).execute();
  // A native module's errors are of another realm than jest's: `toThrow` would not know them.
  await expect(again).rejects.toMatchObject({ message: expect.stringMatching(/unique/i) as unknown });
  await db.transaction().execute(async (trx) => {
    await trx.updateTable('accounts').set({ name: 'anna' }).where('id', '=', 1).execute();
  });
  const work = db.transaction().execute(async (trx) => {
    await trx.deleteFrom('accounts').execute();
    throw undone;
  });
  await expect(work).rejects.toBe(undone);
  const rows = await db.selectFrom('accounts').select(['id', 'name']).orderBy('id').execute();
  expect(rows).toEqual([
    { id: 1, name: 'anna' },
    { id: 2, name: 'bob' },
  ]);
}

describeServer('query builders on postgres', () => {
  let fixture: Fixture;
  let storage: StorageManager;
  const clock = new AheadClock();
  const acquireTimeout = 30_000;
  const pool = () => storage.sql<pg.Pool>();
  const idle = () => until(() => pool().idleCount === pool().totalCount);
  beforeAll(async () => {
    fixture = await Fixture.open();
    const main = { url: fixture.url, pool: { max: 2, acquireTimeout, leakTimeout: 20 } };
    storage = await openOn(clock, { databases: { main } });
  });
  afterAll(async () => {
    await storage.close();
    await fixture.close();
  });

  test('Drizzle inserts, selects and runs transactions, on the connections of the manager', async () => {
    await pool().query(TABLE);
    const db = drizzlePg(pool());
    expect(
      await db
        .insert(accounts)
        .values([{ id: 1, name: 'ann' }])
        .returning(),
    ).toEqual([{ id: 1, name: 'ann' }]);
    await expect(db.insert(accounts).values({ id: 1, name: 'eve' })).rejects.toMatchObject({
      cause: { code: '23505' },
    });
    await db.transaction(
      async (tx) => {
        await tx.update(accounts).set({ name: 'anna' }).where(eq(accounts.id, 1));
        // A savepoint.
        await tx
          .transaction(async (inner) => {
            await inner.delete(accounts);
            throw undone;
          })
          .catch(() => undefined);
        expect((await tx.execute(raw`SHOW transaction_isolation`)).rows).toEqual([
          { transaction_isolation: 'serializable' },
        ]);
      },
      { isolationLevel: 'serializable' },
    );
    await expect(
      db.transaction(async (tx) => {
        await tx.delete(accounts);
        throw undone;
      }),
    ).rejects.toBe(undone);
    expect(await db.select().from(accounts).where(eq(accounts.id, 1))).toEqual([{ id: 1, name: 'anna' }]);
    const prepared = db
      .select()
      .from(accounts)
      .where(eq(accounts.id, raw.placeholder('id')))
      .prepare('by_id');
    for (let i = 0; i < 3; i++) expect(await prepared.execute({ id: 1 })).toHaveLength(1);
    await idle();
    expect(pool().totalCount).toBeLessThanOrEqual(2);
    await pool().query('DROP TABLE accounts');
  });

  test('Kysely inserts, selects and runs transactions; its destroy() leaves the manager open', async () => {
    await pool().query(TABLE);
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: pool() }) });
    await checkKysely(db);
    const serializable = db
      .transaction()
      .setIsolationLevel('serializable')
      .execute((trx) => sql<{ transaction_isolation: string }>`SHOW transaction_isolation`.execute(trx));
    expect((await serializable).rows).toEqual([{ transaction_isolation: 'serializable' }]);
    await idle();
    await db.destroy();
    await storage.collection(Notes).save({ text: 'a' }, { id: 'a' });
    await pool().query('DROP TABLE accounts');
  });

  test('both share the limit of the manager, and whoever waits longer than acquireTimeout is refused', async () => {
    const held = [await pool().connect(), await pool().connect()];
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: pool() }) });
    const late = { code: 'UNAVAILABLE', retryable: true };
    const refused = [
      expect(sql`SELECT 1`.execute(db)).rejects.toMatchObject(late),
      expect(drizzlePg(pool()).execute(raw`SELECT 1`)).rejects.toMatchObject({ cause: late }),
    ];
    await until(() => pool().waitingCount === 2);
    clock.skip(acquireTimeout);
    await Promise.all(refused);
    for (const client of held) client.release();
    expect((await sql`SELECT 1 AS one`.execute(db)).rows).toEqual([{ one: 1 }]);
  });

  test('a transaction that hangs is a leak: the health report has the stack of who began it', async () => {
    let end!: () => void;
    const hanging = hangInDrizzle(pool(), new Promise((resolve) => (end = resolve)));
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: pool() }) });
    const trx = await db.startTransaction().execute();
    const report = async () => JSON.stringify(await storage.health());
    await until(async () => (await report()).includes('hangInDrizzle'));
    // Kysely takes its connections in a promise of its own: the stack ends in its driver.
    await until(async () => (await report()).includes('postgres-driver.js'));
    end();
    await hanging;
    await trx.rollback().execute();
    await until(async () => !(await report()).includes('"leaks"'));
  });

  test('what a client was left in does not reach the next user of its connection', async () => {
    const clients = [await pool().connect(), await pool().connect()];
    for (const client of clients) {
      await client.query('BEGIN');
      await client.query('SET search_path = nowhere');
      client.release();
    }
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: pool() }) });
    const { rows } = await sql<{ path: string; inside: boolean }>`
      SELECT current_setting('search_path') AS path, now() <> statement_timestamp() AS inside`.execute(db);
    expect(rows).toEqual([{ path: '"$user", public', inside: false }]);
  });

  test('rows come in portions through a cursor of the server', async () => {
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: pool() }) });
    const seen: number[] = [];
    await db.transaction().execute(async (trx) => {
      await sql`DECLARE numbers CURSOR FOR SELECT generate_series(1, 250) AS n`.execute(trx);
      for (;;) {
        const { rows } = await sql<{ n: number }>`FETCH 100 FROM numbers`.execute(trx);
        if (rows.length === 0) break;
        seen.push(rows.length);
      }
    });
    expect(seen).toEqual([100, 100, 50]);
  });
});

async function hangInDrizzle(pool: pg.Pool, until: Promise<void>): Promise<void> {
  await drizzlePg(pool).transaction(() => until);
}

describe('query builders on pglite', () => {
  test('Drizzle takes its turn: its statements and transactions are in none of the manager', async () => {
    await using storage = await open(PGLITE_IN_MEMORY);
    const client = storage.sql<PGlite>();
    await client.exec(TABLE);
    const db = drizzlePglite(client);
    let inserted: Promise<unknown> | undefined;
    const work = storage.transaction(async (tx) => {
      await tx.collection(Notes).save({ text: 'a' }, { id: 'a' });
      inserted = db.insert(accounts).values({ id: 1, name: 'ann' }).returning();
      throw undone;
    });
    await expect(work).rejects.toBe(undone);
    expect(await inserted).toEqual([{ id: 1, name: 'ann' }]);
    let saved: Promise<unknown> | undefined;
    await expect(
      db.transaction(async (tx) => {
        await tx.delete(accounts);
        saved = storage.collection(Notes).save({ text: 'b' }, { id: 'b' });
        await tx.insert(accounts).values({ id: 2, name: 'bob' });
        throw undone;
      }),
    ).rejects.toBe(undone);
    await saved;
    expect(await db.select().from(accounts)).toEqual([{ id: 1, name: 'ann' }]);
    expect((await storage.collection(Notes).list()).items.map(({ id }) => id)).toEqual(['b']);
  });
});

describeEngine('query builders on sqlite', 'better-sqlite3', () => {
  let folder: string;
  let storage: StorageManager;
  const client = () => storage.sql<Sqlite.Database>();
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'query-builders-'));
    storage = await open({ url: `sqlite:${join(folder, 'file.db')}`, engine: 'better-sqlite3' });
  });
  afterAll(async () => {
    await storage.close();
    await rm(folder, { recursive: true });
  });

  test('Drizzle inserts, selects and runs transactions', () => {
    client().exec(TABLE);
    const db = drizzleSqlite(client());
    expect(db.insert(sqliteAccounts).values({ id: 1, name: 'ann' }).returning().all()).toEqual([
      { id: 1, name: 'ann' },
    ]);
    expect(() =>
      db.transaction((tx) => {
        tx.delete(sqliteAccounts).run();
        throw undone;
      }),
    ).toThrow(undone);
    expect(db.select().from(sqliteAccounts).where(eq(sqliteAccounts.id, 1)).all()).toHaveLength(1);
    client().exec('DROP TABLE accounts');
  });

  test('Kysely inserts, selects, streams and runs transactions; its destroy() closes neither the manager nor the next', async () => {
    client().exec(TABLE);
    const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: client() }) });
    await checkKysely(db);
    const streamed: string[] = [];
    for await (const { name } of db.selectFrom('accounts').select('name').orderBy('id').stream()) streamed.push(name);
    expect(streamed).toEqual(['anna', 'bob']);
    await db.destroy();
    await storage.collection(Notes).save({ text: 'a' }, { id: 'a' });
    client().exec('DROP TABLE accounts');
  });

  test('what a host does while a transaction runs is no part of it, and the other way around', async () => {
    const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: client() }) });
    client().exec(TABLE);
    const work = storage.transaction(async (tx) => {
      await tx.collection(Notes).save({ text: 'inside' }, { id: 'inside' });
      // It reads what was committed, and cannot write while the other does.
      expect(await db.selectFrom('accounts').selectAll().execute()).toEqual([]);
      await expect(db.insertInto('accounts').values({ id: 1, name: 'ann' }).execute()).rejects.toMatchObject({
        code: 'SQLITE_BUSY',
      });
      throw undone;
    });
    await expect(work).rejects.toBe(undone);
    let beside: Promise<unknown> | undefined;
    const theirs = db.transaction().execute(async (trx) => {
      await trx.insertInto('accounts').values({ id: 2, name: 'bob' }).execute();
      beside = storage.collection(Notes).save({ text: 'beside' }, { id: 'beside' });
      throw undone;
    });
    await expect(theirs).rejects.toBe(undone);
    await beside;
    expect(await db.selectFrom('accounts').selectAll().execute()).toEqual([]);
    expect(await storage.collection(Notes).getMany(['inside', 'beside'])).toMatchObject([undefined, { id: 'beside' }]);
  });
});
