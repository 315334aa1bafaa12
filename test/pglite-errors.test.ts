import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import { pglite } from '../src/pools/pglite/index.js';
import type { SqlPool, SqlValue } from '../src/pools/pool.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

let pool: SqlPool;
const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
const query = async (text: string, ...parameters: SqlValue[]) => (await pool.query(text, parameters, context())).rows;

beforeAll(async () => {
  pool = pglite.create(PGLITE_IN_MEMORY, {}, { clock, name: 'main' });
  await pool.open({ clock, signal: new AbortController().signal });
});
afterAll(() => pool.close(clock.monotonic() + 5_000));

describe('errors', () => {
  const raise = (sqlstate: string) => pool.script(`DO $$ BEGIN RAISE SQLSTATE '${sqlstate}'; END $$`, context());

  test.each([
    ['40001', 'CONFLICT', true],
    ['40P01', 'CONFLICT', true],
    ['57014', 'TIMEOUT', true],
    ['53100', 'STORAGE_FULL', false],
    ['53200', 'UNAVAILABLE', true],
    ['08006', 'UNAVAILABLE', true],
    ['57P01', 'UNAVAILABLE', true],
    ['25006', 'UNAVAILABLE', true],
    ['28000', 'UNAUTHORIZED', false],
    ['54000', 'INTERNAL', false],
  ])('SQLSTATE %s is %s', async (sqlstate, code, retryable) => {
    await expect(raise(sqlstate)).rejects.toMatchObject({
      code,
      retryable,
      component: 'main',
      cause: { code: sqlstate },
    });
  });

  test('a fault of data says its SQLSTATE, keeps the cause, and shows no parameter', async () => {
    const error = await query('SELECT $1::jsonb', '{hush').catch((caught: unknown) => caught as Error);
    expect(error).toMatchObject({ code: 'INTERNAL', details: { sqlstate: '22P02' }, cause: { params: undefined } });
    expect((error as Error).message).not.toContain('hush');
    await expect(query('SELECT * FROM nowhere')).rejects.toThrow('relation "nowhere" does not exist');
  });

  test('a parameter that cannot be sent leaves the connection usable', async () => {
    await expect(query('SELECT $1::bytea', 'text')).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

describe('URLs', () => {
  test.each(['pglite:', 'pglite:a\0b', 'pglite://host/dir', 'pglite::disk:'])('%j is refused', (url) => {
    expect(pglite.checkUrl(url)).toEqual(expect.any(String));
  });

  test.each(['pglite:./dir', 'pglite:/abs/dir', 'pglite:dir', 'pglite::memory:'])('%j is taken', (url) => {
    expect(pglite.checkUrl(url)).toBeUndefined();
  });

  test('a colon that is missing makes no directory of what was meant to be in memory', () => {
    for (const url of ['pglite:memory', 'pglite:memory:', 'pglite:memory:?from=./seed.tar'])
      expect(pglite.checkUrl(url)).toContain('pglite::memory:');
    expect(pglite.checkUrl('pglite:./memory')).toBeUndefined();
  });

  test('a directory has one key however it is written; each database in memory has its own', () => {
    const key = (url: string, name = 'main') => pglite.key(url, {}, name);
    expect(key('pglite:./a/../b')).toBe(key(`pglite:${process.cwd()}/b`, 'other'));
    expect(key('pglite::memory:', 'a')).not.toBe(key('pglite::memory:', 'b'));
    expect(key('pglite::memory:', 'a')).not.toBe(key('pglite:./:memory:a'));
  });
});
