import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { systemClock as clock } from '../src/clock.js';
import type { SqlPool, SqlValue } from '../src/pools/pool.js';
import { availableTargets } from '../src/testing/index.js';
import { openPool, type OpenPool } from './support/open-target.js';
import { poolDrivers } from './support/drivers.js';

const drivers = await poolDrivers();
/** Those that speak PostgreSQL. */
const targets = drivers
  .filter(({ vectors }) => vectors === 'pgvector')
  .map((driver) => ({ driver, ...availableTargets(driver.tests, process.env) }));

for (const { waiting } of targets)
  for (const { name, variable } of waiting)
    describe.skip(`values on ${name}`, () =>
      test(`waits for a server in ${variable}`, () => expect(variable).toBeDefined()));

const each = targets.flatMap(({ driver, available }) =>
  available.map((target) => ({ name: target.name, open: () => openPool(driver, target) })),
);

let opened: OpenPool;
let pool: SqlPool;
const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
const query = async (text: string, ...parameters: SqlValue[]) => (await pool.query(text, parameters, context())).rows;

const text = fc
  .oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...'\\"\'{},N UL ntrue\n\té😀\uffff') }))
  .map((value) => value.replaceAll('\0', ''));
const awkward = fc.oneof(text, fc.constantFrom('', 'null', 'NULL', '{}', '"', '\\', '\\"', ' ', ',', 'a,b', '{"a"}'));

describe.each(each)('values on $name', ({ open }) => {
  beforeAll(async () => {
    opened = await open();
    pool = opened.pool as SqlPool;
  });
  afterAll(() => opened.close());

  test('texts and arrays of text come back as they were', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.option(awkward), { maxLength: 8 }), awkward, async (many, one) => {
        const [row] = await query('SELECT $1::text[] AS many, $2::text AS one', many, one);
        expect(row).toEqual({ many, one });
      }),
      { numRuns: 300 },
    ));

  test('a JSON text arrives as that JSON, in jsonb, json and jsonb[]', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (values) => {
        const clean = JSON.parse(JSON.stringify(values).replaceAll('\\u0000', '').replaceAll('-0', '0')) as unknown[];
        const texts = clean.map((value) => JSON.stringify(value));
        const rows = await query(
          'SELECT v AS value, jsonb_typeof(v) AS type FROM unnest($1::jsonb[]) WITH ORDINALITY AS u (v, n) ORDER BY n',
          texts,
        );
        expect(rows.map((row) => row['value'])).toEqual(clean);
        const [whole] = await query('SELECT $1::jsonb AS b, $1::json AS j', JSON.stringify(clean));
        expect(whole).toEqual({ b: clean, j: clean });
      }),
      { numRuns: 200 },
    ));

  test.each([
    ['"text"', 'text', 'string'],
    ['"{\\"a\\":1}"', '{"a":1}', 'string'],
    ['5', 5, 'number'],
    ['null', null, 'null'],
    ['true', true, 'boolean'],
  ])('the JSON text %s is not encoded twice', async (json, value, type) => {
    expect(await query('SELECT $1::jsonb AS value, jsonb_typeof($1::jsonb) AS type', json)).toEqual([{ value, type }]);
  });

  test('instants keep their milliseconds in every year PostgreSQL has', () =>
    fc.assert(
      fc.asyncProperty(fc.date({ min: new Date('-004000-01-01T00:00:00Z'), noInvalidDate: true }), async (date) => {
        const rows = await query('SELECT $1::timestamptz(3) AS date, $2::timestamptz[] AS dates', date, [date, null]);
        expect(rows).toEqual([{ date, dates: [date, null] }]);
      }),
      { numRuns: 300 },
    ));

  test('microseconds are cut, not rounded, whatever their digits', async () => {
    const texts = [
      '2024-01-31 12:00:00',
      '2024-02-29 23:59:59.5',
      '0099-01-01 00:00:00.12',
      '1969-12-31 23:59:59.999999',
    ];
    const rows = await query(
      'SELECT array_agg((t.text || $2)::timestamptz) AS dates FROM unnest($1::text[]) AS t (text)',
      texts,
      '+00',
    );
    const iso = [
      '2024-01-31T12:00:00Z',
      '2024-02-29T23:59:59.5Z',
      '0099-01-01T00:00:00.12Z',
      '1969-12-31T23:59:59.999Z',
    ];
    expect(rows).toEqual([{ dates: iso.map((text) => new Date(text)) }]);
  });

  test('infinite instants are numbers, both ways', async () => {
    const rows = await query(
      "SELECT 'infinity'::timestamptz AS a, $1::timestamptz AS b, $2::text AS c",
      -Infinity,
      'x',
    );
    expect(rows).toEqual([{ a: Infinity, b: -Infinity, c: 'x' }]);
    expect(await query("SELECT $1 > '2024-01-01'::timestamptz AS later", Infinity)).toEqual([{ later: true }]);
  });

  test('numbers, booleans, bytes and nulls', async () => {
    const bytes = new Uint8Array([0, 1, 254, 255]);
    const sql = `SELECT $1::int8 AS i, $2::float8 AS f, $3::bool AS b, $4::bytea AS y, $5::text AS n, $6::bool[] AS bs,
      $7::float8[] AS fs, 9007199254740993::int8 AS large`;
    expect(await query(sql, 2 ** 40, 5e-324, true, bytes, null, [true, false, null], [1e308, -0.5])).toEqual([
      { i: 2 ** 40, f: 5e-324, b: true, y: bytes, n: null, bs: [true, false, null], fs: [1e308, -0.5], large: 2 ** 53 },
    ]);
  });

  test('affected counts what was inserted, updated or deleted', async () => {
    const counts = [];
    await pool.script('CREATE TABLE item (id int PRIMARY KEY, body jsonb)', context());
    for (const statement of [
      'INSERT INTO item SELECT generate_series(1, 5) RETURNING id',
      'UPDATE item SET body = NULL WHERE id > 2',
      'SELECT * FROM item',
      'DELETE FROM item',
    ])
      counts.push((await pool.query(statement, [], context())).affected);
    expect(counts).toEqual([5, 3, 0, 5]);
  });
});
