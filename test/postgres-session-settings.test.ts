/** Settings that a database gives its sessions, and that results depend on. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { parseInstant } from '../src/pools/timestamptz.js';
import { context, describeServer, Fixture, openContext, rowsOf } from './support/postgres/fixture.js';
import { statementsOf } from './support/statements.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', fields: { n: 'number' } });
const WRONG = [
  ['DateStyle', 'German'],
  ['extra_float_digits', '0'],
  ['bytea_output', 'escape'],
  ['standard_conforming_strings', 'off'],
  ['default_transaction_isolation', 'serializable'],
] as const;

let fixture: Fixture;
let host: SqlPool;
let database: string;
const give = (name: string, value: string) =>
  host.script(`ALTER DATABASE "${database}" SET ${name} = '${value}'`, context());

describeServer("the database's own settings", () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    host = await fixture.pool({ pool: { max: 1 } });
    database = String((await rowsOf(host, 'SELECT current_database()::text AS name'))[0]!['name']);
  });
  afterEach(() => host.script(`ALTER DATABASE "${database}" RESET ALL`, context()));
  afterAll(() => fixture.close());

  test('are replaced by those that results depend on, also by what the URL says of them', async () => {
    for (const [name, value] of WRONG) await give(name, value);
    const said = `${fixture.url}?options=${encodeURIComponent('-c extra_float_digits=0 -c work_mem=5MB')}`;
    const pool = await fixture.pool({}, said);
    const [row] = await rowsOf(pool, "SELECT to_timestamp(0) AS zero, '\\x5c00'::bytea AS bytes, '\\' AS text");
    expect(row).toEqual({ zero: new Date(0), bytes: Uint8Array.of(0x5c, 0), text: '\\' });
    expect(await rowsOf(pool, 'SHOW work_mem')).toEqual([{ work_mem: '5MB' }]);
    await using storage = await openStorage({ databases: { main: said } }, { environment: {} });
    const notes = storage.collection(Notes);
    await notes.save({ n: 0.1 }, { id: 'a' });
    await notes.save({ n: 9_007_199_254_740_900 }, { id: 'b' });
    expect(await notes.increment('a', 'n', 0.2)).toBe(0.1 + 0.2);
    expect(await notes.increment('b', 'n', 1)).toBe(9_007_199_254_740_901);
    await Promise.all(Array.from({ length: 20 }, () => notes.increment('b', 'n', 1)));
    expect((await notes.get('b'))?.value.n).toBe(9_007_199_254_740_921);
  });

  test('a limit that was raised for one statement is lowered by the next transaction that is committed, for all after it', async () => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const LIMIT = "SELECT current_setting('statement_timeout') AS t";
    const short = () => ({ context: context({ timeout: 20_000 }) });
    const inside = () => pool.transaction(short(), (session) => rowsOf(pool, LIMIT, session));
    await pool.query('SELECT 1', [], context({ timeout: 300_000 }));
    const undone = new Error('Undone');
    await expect(
      pool.transaction(short(), async (session) => {
        expect(await rowsOf(pool, LIMIT, session)).toEqual([{ t: '1min' }]);
        throw undone;
      }),
    ).rejects.toBe(undone);
    // The server has taken it back with the transaction.
    expect(await inside()).toEqual([{ t: '1min' }]);
    expect(await statementsOf(() => rowsOf(pool, LIMIT))).toEqual([LIMIT]);
    expect(await rowsOf(pool, LIMIT)).toEqual([{ t: '1min' }]);
  });

  test('which accept no writes stay: the health says so', async () => {
    await give('default_transaction_read_only', 'on');
    const pool = await fixture.pool();
    expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({
      status: 'degraded',
      message: 'The server accepts no writes',
    });
  });

  describe('behind a pooler, which lets none pass', () => {
    const pooled = () => fixture.make({ pooler: 'transaction' });

    test.each(WRONG)('%s as %s: CONFIGURATION, with the statement that mends it', async (name, value) => {
      await give(name, value);
      const pool = pooled();
      const fault = await pool.open(openContext()).catch((error: unknown) => error);
      expect(fault).toMatchObject({ code: 'CONFIGURATION', retryable: false });
      const { message } = fault as Error;
      expect(message).toContain(`${name} is '${value}`);
      const [mend] = /ALTER DATABASE [^;(]+(?= \()/.exec(message)!;
      await host.script(mend, context());
      await pool.open(openContext());
    });

    test('a zone whose offset has seconds is read to the second', async () => {
      await give('TimeZone', 'Europe/Berlin');
      const pool = pooled();
      await pool.open(openContext());
      const old = new Date('1880-01-01T00:00:00.000Z');
      const { rows } = await pool.query('SELECT $1::timestamptz AS old', [old], context());
      expect(rows).toEqual([{ old }]);
    });
  });
});

describe('the text of a time', () => {
  test.each([
    ['1880-01-01 00:53:28+00:53:28', '1880-01-01T00:00:00.000Z'],
    ['1880-01-01 12:00:00.5-04:56:02', '1880-01-01T16:56:02.500Z'],
    ['2024-06-30 12:00:00+05:30', '2024-06-30T06:30:00.000Z'],
    ['0044-03-15 12:00:00+00 BC', '-000043-03-15T12:00:00.000Z'],
  ])('%s', (text, expected) => {
    expect((parseInstant(text) as Date).toISOString()).toBe(expected);
  });

  test.each(['31.01.2024 12:00:00 UTC', '01/31/2024 12:00:00+00', 'Wed Jan 31 12:00:00 2024 UTC'])(
    '%s is none',
    (text) => expect(() => parseInstant(text)).toThrow('another style than ISO'),
  );
});
