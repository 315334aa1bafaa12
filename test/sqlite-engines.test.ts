/** Each SQLite library under the same suites; one that is not there is skipped, and says why. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import { ENGINES, type EngineDatabase, type OpenEngine } from '../src/pools/sqlite/engine.js';
import { loadEngine, type EngineLoaders } from '../src/pools/sqlite/engines.js';
import { describeRecordBackend } from '../src/testing/index.js';
import { describeEngine } from './support/sqlite/engines.js';
import { context, Folder, openSqlite } from './support/sqlite/fixture.js';

/** What the clients of all have in common. */
interface Client {
  prepare(text: string): { get(): object };
  close(): void;
}

for (const engine of ENGINES)
  describeEngine(`the library ${engine}`, engine, () => {
    const target = { name: `sqlite with ${engine}`, open: () => openSqlite('sqlite::memory:', { engine }) };
    describeRecordBackend(target, { describe, test, beforeAll, afterAll }, { cases: 1_000 });

    describe(`the errors of ${engine}`, () => {
      test('are told by what SQLite calls them', async () => {
        const { pool, close } = await openSqlite('sqlite::memory:', { engine });
        const run = (text: string) => pool.query(text, [], context());
        await pool.script(
          'CREATE TABLE t (a TEXT UNIQUE, b INTEGER NOT NULL, c); CREATE UNIQUE INDEX i ON t (abs(b))',
          context(),
        );
        await run("INSERT INTO t VALUES ('x', 1, NULL)");
        await expect(run("INSERT INTO t VALUES ('x', 2, NULL)")).rejects.toMatchObject({
          code: 'ALREADY_EXISTS',
          details: { sqlite: 'SQLITE_CONSTRAINT', constraint: 't.a' },
        });
        await expect(run("INSERT INTO t VALUES ('y', -1, NULL)")).rejects.toMatchObject({
          code: 'ALREADY_EXISTS',
          details: { constraint: 'i' },
        });
        await expect(run("INSERT INTO t VALUES ('y', NULL, NULL)")).rejects.toMatchObject({
          code: 'INTERNAL',
          details: { sqlite: 'SQLITE_CONSTRAINT' },
        });
        await expect(run('SELECT a FROM nowhere')).rejects.toMatchObject({
          code: 'INTERNAL',
          message: expect.stringMatching(/no such table: nowhere/) as unknown,
        });
        await pool.script('PRAGMA max_page_count = 10', context());
        await expect(
          pool.query("INSERT INTO t VALUES ('z', 9, ?)", ['z'.repeat(100_000)], context()),
        ).rejects.toMatchObject({ code: 'STORAGE_FULL' });
        expect((await run('SELECT a, b, c FROM t')).rows.map((row) => ({ ...row }))).toEqual([
          { a: 'x', b: 1, c: null },
        ]);
        await close();
      });

      test('come of a broken reference too: foreign keys are kept on every handle', async () => {
        const folder = new Folder();
        const { pool, close } = await openSqlite(`sqlite:${folder.file()}`, { engine });
        const kept = 'PRAGMA foreign_keys';
        expect((await pool.query(kept, [], context())).rows).toEqual([{ foreign_keys: 1 }]);
        const client = (): Client => pool.raw!.client() as Client;
        expect({ ...client().prepare(kept).get() }).toEqual({ foreign_keys: 1 });
        client().close();
        // The one that comes after it.
        expect({ ...client().prepare(kept).get() }).toEqual({ foreign_keys: 1 });
        await close();
        const { pool: inMemory, close: end } = await openSqlite('sqlite::memory:', { engine });
        expect((await inMemory.query(kept, [], context())).rows).toEqual([{ foreign_keys: 1 }]);
        await end();
        folder.remove();
      });

      test('tell a lock, a file of something else and one that cannot be opened', async () => {
        const folder = new Folder();
        const url = `sqlite:${folder.file()}`;
        const [one, two] = [await openSqlite(url, { engine }), await openSqlite(url, { engine })];
        await one.pool.script('CREATE TABLE t (a)', context());
        await one.pool.transaction({ context: context() }, async (session) => {
          await one.pool.query('INSERT INTO t VALUES (1)', [], context({ session }));
          const late = two.pool.query('INSERT INTO t VALUES (2)', [], context({ deadline: performance.now() + 60 }));
          await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });
          expect((await two.pool.query('SELECT a FROM t', [], context())).rows).toHaveLength(0);
        });
        const { rows, affected } = await two.pool.query('UPDATE t SET a = a + 1 RETURNING a', [], context());
        expect([rows.map((row) => row['a']), affected]).toEqual([[2], 1]);
        expect(await two.pool.query('DELETE FROM t', [], context())).toMatchObject({ affected: 1 });
        await one.close();
        await two.close();
        await expect(openSqlite(`sqlite:${folder.path}`, { engine })).rejects.toMatchObject({ code: 'CONFIGURATION' });
        folder.remove();
      });
    });
  });

describe('the choice of a library', () => {
  const absent = (): never => {
    throw new Error('Could not locate the bindings file. Tried:\n → /somewhere/build/better_sqlite3.node');
  };
  const present = (): Promise<OpenEngine> => loadEngine('auto', 'main');
  /** As an old SQLite, which cannot tell neighbouring doubles. */
  const old = async (): Promise<OpenEngine> => {
    const open = await present();
    return (path) => {
      const database = open(path);
      return Object.assign(Object.create(database) as EngineDatabase, {
        prepare: (text: string) =>
          text.includes('CAST(')
            ? { reader: true, get: () => ({ answer: 0 }), all: () => [{ answer: 0 }], run: () => 0 }
            : database.prepare(text),
        close: () => database.close(),
      });
    };
  };
  const loaders = (first: () => OpenEngine | Promise<OpenEngine>, others = absent as typeof first): EngineLoaders => ({
    'better-sqlite3': first,
    'node:sqlite': others,
    '@photostructure/sqlite': others,
  });

  test('takes the next one when one is not built, or reads numbers wrong', async () => {
    for (const first of [absent, old]) {
      const open = await loadEngine('auto', 'main', loaders(first, present));
      const database = open(':memory:');
      expect(
        database
          .prepare('SELECT 1 AS one')
          .all([])
          .map((row) => row['one']),
      ).toEqual([1]);
      database.close();
    }
  });

  test('names what is missing, why, and what to do about it', async () => {
    await expect(loadEngine('better-sqlite3', 'main', loaders(absent))).rejects.toMatchObject({
      code: 'DEPENDENCY_MISSING',
      message: expect.stringMatching(/better-sqlite3 .*bindings file.*npm install better-sqlite3/) as unknown,
    });
    await expect(loadEngine('auto', 'main', loaders(absent))).rejects.toMatchObject({
      code: 'DEPENDENCY_MISSING',
      message: expect.stringMatching(/npm install better-sqlite3.*npm install @photostructure\/sqlite/) as unknown,
    });
  });

  test('refuses a library that reads numbers wrong', async () => {
    for (const choice of ['auto', 'better-sqlite3'] as const)
      await expect(loadEngine(choice, 'main', loaders(old))).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(/another number/) as unknown,
      });
  });

  test('is of what this machine has', async () => {
    const pool = await openSqlite('sqlite::memory:');
    expect(pool.pool.raw?.client()).toEqual(expect.any(Object));
    expect(clock.monotonic()).toBeGreaterThan(0);
    await pool.close();
  });
});
