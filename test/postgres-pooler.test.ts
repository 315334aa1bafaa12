/** PgBouncer in transaction mode, in between: each transaction may be another session of the server. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import type { RecordSchema } from '../src/backends/backend.js';
import { sql } from '../src/backends/sql/index.js';
import { defineCollection } from '../src/collection/definition.js';
import type { PostgresDialectPool, SqlPool } from '../src/pools/pool.js';
import { context, Fixture, openContext, rowsOf, serverUrl, until } from './support/postgres/fixture.js';
import { pgbouncerProgram, startPgBouncer, type PgBouncer } from './support/postgres/pgbouncer.js';

const program = pgbouncerProgram();
const missing = program === undefined ? 'PgBouncer to be installed here' : 'a server in TEST_POSTGRES_URL';
const possible = program !== undefined && serverUrl !== '';
const describePooler = possible ? describe : describe.skip;

let fixture: Fixture;
let bouncer: PgBouncer;
let pool: SqlPool;

describePooler(`a pooler in transaction mode${possible ? '' : ` (waits for ${missing})`}`, () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    bouncer = await startPgBouncer(program!, serverUrl);
    const made = fixture.make({ pooler: 'transaction', pool: { max: 6 } }, fixture.through(bouncer.port));
    await until(() =>
      made.open(openContext()).then(
        () => true,
        () => false,
      ),
    );
    pool = made;
    await pool.script('CREATE TABLE item (id int PRIMARY KEY)', context());
  });
  afterAll(async () => {
    await fixture.closePools();
    await bouncer.stop();
    await fixture.close();
  });

  test('without the setting the session is refused, and the error says what to set', async () => {
    const plain = fixture.make({}, fixture.through(bouncer.port));
    await expect(plain.open(openContext())).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining("pooler: 'transaction'") as unknown,
    });
  });

  test('statements with names, by many, on fewer sessions than connections', async () => {
    const named = (n: number) => pool.query('SELECT $1::int AS n', [n], context(), { name: 'n' });
    const all = await Promise.all(Array.from({ length: 60 }, (_, n) => named(n)));
    expect(all.map(({ rows }) => rows[0]!['n'])).toEqual(Array.from({ length: 60 }, (_, n) => n));
    expect(pool.figures().size).toBeGreaterThan(2);
  });

  test('transactions, at once, with a limit of their own on the server', async () => {
    await Promise.all(
      Array.from({ length: 20 }, (_, id) =>
        pool.transaction({ context: context({ timeout: 30_000 }), isolation: 'snapshot' }, async (session) => {
          await pool.query('INSERT INTO item VALUES ($1)', [id], context({ session }), { name: 'insert' });
          const limit = 'SELECT extract(epoch FROM current_setting($$statement_timeout$$)::interval)::int AS seconds';
          const [{ seconds }] = (await rowsOf(pool, limit, session)) as [{ seconds: number }];
          expect(seconds).toBeGreaterThan(0);
          expect(seconds).toBeLessThan(32);
        }),
      ),
    );
    expect(await rowsOf(pool, 'SELECT count(*) AS n FROM item')).toEqual([{ n: 20 }]);
    expect(await rowsOf(pool, 'SHOW statement_timeout')).toEqual([{ statement_timeout: '0' }]);
  });

  test('rows by COPY, at once, alone and in transactions, and what is refused of them', async () => {
    await pool.script('CREATE TABLE many (id int PRIMARY KEY)', context());
    const copy = (from: number, more = {}) =>
      (pool as PostgresDialectPool).copyIn(
        'many (id)',
        Array.from({ length: 1_000 }, (_, i) => `${from + i}\n`),
        context(more),
      );
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        i % 2 === 0
          ? copy(i * 1_000)
          : pool.transaction({ context: context(), isolation: 'snapshot' }, (session) => copy(i * 1_000, { session })),
      ),
    );
    await expect(copy(11_500)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await pool.transaction({ context: context() }, async (session) => {
      await expect(copy(11_500, { session })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      await pool.query('INSERT INTO many VALUES (-1)', [], context({ session }));
    });
    expect(await rowsOf(pool, 'SELECT count(*) AS n FROM many')).toEqual([{ n: 12_001 }]);
  });

  test('a deadline stops the statement on the server', async () => {
    await expect(pool.query("SELECT pg_sleep(30) /* 'slow' */", [], context({ timeout: 100 }))).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    const slow =
      "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%''slow''%' AND state = 'active' AND pid <> pg_backend_pid()";
    await until(async () => (await rowsOf(pool, slow)).length === 0);
  });

  test('the check and the raw client', async () => {
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy' });
    expect((await (pool.raw!.client() as pg.Pool).query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  });

  test('tables are changed by one process at a time, without holding up writers', async () => {
    const define = (more: object = {}): RecordSchema =>
      defineCollection<{ n: number }>({ name: 'orders', fields: { n: 'number' }, ...more }).schema;
    await sql.create(pool, 'first').ensure([define()], context());
    await pool.script(
      "INSERT INTO quartermaster.orders SELECT 't', 'r' || i, 1, now(), now(), 'infinity', jsonb_build_object('n', i, 's', 'fox') FROM generate_series(1, 5000) i",
      context(),
    );
    const changed = define({ indexes: [{ keys: ['n'] }], unique: [{ name: 'byN', fields: ['n'] }], text: ['s'] });
    await Promise.all([1, 2, 3, 4].map(() => sql.create(pool, 'more').ensure([changed], context())));
    const { rows } = await pool.query(
      'SELECT i.indisvalid AS valid FROM pg_index i WHERE i.indrelid = $1::text::regclass AND NOT i.indisprimary',
      ['quartermaster.orders'],
      context(),
    );
    expect(rows.map((row) => row['valid'])).toEqual([true, true, true, true]);
  });
});
