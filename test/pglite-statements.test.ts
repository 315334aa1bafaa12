import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PGlite } from '@electric-sql/pglite';
import { systemClock as clock } from '../src/clock.js';
import { pglite } from '../src/pools/pglite/index.js';
import type { SqlPool, SqlValue } from '../src/pools/pool.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

let pool: SqlPool;
const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
/** By a statement that the engine keeps under `name`. */
const named = async (name: string, text: string, ...parameters: SqlValue[]) =>
  (await pool.query(text, parameters, context(), { name })).rows;
const host = () => pool.raw!.client() as PGlite;

beforeAll(async () => {
  pool = pglite.create(PGLITE_IN_MEMORY, {}, { clock, name: 'main' });
  await pool.open({ clock, signal: new AbortController().signal });
  await pool.script('CREATE TABLE items (id int PRIMARY KEY, note text)', context());
});
afterAll(() => pool.close(clock.monotonic() + 5_000));

describe('a statement with a name', () => {
  test('is parsed once', async () => {
    for (let i = 0; i < 3; i++) await named('once', 'SELECT 1 AS one');
    const { rows } = await host().query("SELECT statement FROM pg_prepared_statements WHERE name = 'once'");
    expect(rows).toEqual([{ statement: 'SELECT 1 AS one' }]);
  });

  test('takes and gives values as one without a name', async () => {
    const text =
      'SELECT $1::timestamptz AS time, $2::text[] AS list, $3::bytea AS bytes, $4::bigint AS big, $5::boolean AS yes, ' +
      '$6::jsonb AS json, $7::text AS nothing';
    const time = new Date(1e12);
    const bytes = new Uint8Array([0, 255]);
    const values = [time, ['a"', null, 'b'], bytes, 2 ** 40, true, '{"a":[1]}', null];
    const expected = [
      { time, list: ['a"', null, 'b'], bytes, big: 2 ** 40, yes: true, json: { a: [1] }, nothing: null },
    ];
    for (let i = 0; i < 2; i++) expect(await named('values', text, ...values)).toEqual(expected);
    expect((await pool.query(text, values, context())).rows).toEqual(expected);
  });

  test('gives texts with the byte order mark that they begin with', async () => {
    const text = "SELECT i, $1::text AS a, 'x' AS b, NULL AS c, $1 || '' AS d FROM generate_series(1, 300) AS i";
    for (const mark of ['\ufeff', '\ufeff\ufeffx', 'x\ufeff', ''])
      expect(await named('mark', text, mark)).toEqual(
        Array.from({ length: 300 }, (_, i) => ({ i: i + 1, a: mark, b: 'x', c: null, d: mark })),
      );
  });

  test('counts the rows that it changed', async () => {
    const insert = { name: 'insert' };
    const text = 'INSERT INTO items VALUES ($1, $2), ($1 + 1, $2)';
    expect((await pool.query(text, [1, 'a'], context(), insert)).affected).toBe(2);
    expect((await pool.query(text, [3, 'a'], context(), insert)).affected).toBe(2);
    expect((await pool.query('SELECT * FROM items', [], context(), { name: 'all' })).affected).toBe(0);
  });

  test('runs again after it failed', async () => {
    const text = 'INSERT INTO items VALUES ($1)';
    await named('single', text, 10);
    await expect(named('single', text, 10)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await expect(named('single', text, 'x')).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await named('single', text, 11)).toEqual([]);
    await expect(named('later', 'SELECT * FROM later')).rejects.toThrow('relation "later" does not exist');
    await pool.script('CREATE TABLE later (a int)', context());
    expect(await named('later', 'SELECT * FROM later')).toEqual([]);
  });

  test('runs after the host took all statements away', async () => {
    const read = () => named('read', 'SELECT 1 AS one');
    await read();
    await host().exec('DEALLOCATE ALL');
    expect(await read()).toEqual([{ one: 1 }]);
    await host().exec('DISCARD ALL');
    expect(await read()).toEqual([{ one: 1 }]);
  });

  test('follows a change of what it reads', async () => {
    await pool.script('CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)', context());
    const read = () => named('changing', 'SELECT * FROM changing');
    expect(await read()).toEqual([{ a: 1 }]);
    await pool.script('ALTER TABLE changing ALTER a TYPE text, ADD b int', context());
    expect(await read()).toEqual([{ a: '1', b: null }]);
    await host().exec('ALTER TABLE changing DROP b');
    expect(await read()).toEqual([{ a: '1' }]);
  });

  test('runs at the side of others of its session, in the order of the calls', async () => {
    await pool.transaction({ context: context() }, async (session) => {
      const own = { ...context(), session };
      const notes = Array.from({ length: 5 }, (_, i) =>
        pool.query('UPDATE items SET note = note || $1::text WHERE id = 1 RETURNING note', [String(i)], own, {
          name: i % 2 === 0 ? 'even' : 'odd',
        }),
      );
      const results = await Promise.all(notes);
      expect(results.map(({ rows }) => rows[0]!['note'])).toEqual(['a0', 'a01', 'a012', 'a0123', 'a01234']);
    });
  });
});
