import { expect, test } from '@jest/globals';
import { namedStatement } from '../src/backends/sql/statement-names.js';
import type { SqlPool } from '../src/pools/pool.js';

const newPool = (): SqlPool => ({}) as SqlPool;

test('a text has a name from its second time on, of its kind and its pool', () => {
  const pool = newPool();
  expect(namedStatement(pool, 'SELECT 1')).toBeUndefined();
  const named = namedStatement(pool, 'SELECT 1');
  expect(named).toEqual({ name: expect.any(String) as unknown });
  expect(namedStatement(pool, 'SELECT 1')).toEqual(named);
  expect(namedStatement(pool, 'SELECT 1', 'patch')).toBeUndefined();
  expect(namedStatement(newPool(), 'SELECT 1')).toBeUndefined();
});

test('texts that come once take no name from those that come again', () => {
  const pool = newPool();
  for (let i = 0; i < 10_000; i++) expect(namedStatement(pool, `SELECT ${i}`)).toBeUndefined();
  namedStatement(pool, 'SELECT hot');
  expect(namedStatement(pool, 'SELECT hot')).toBeDefined();
  // Others come in between.
  namedStatement(pool, 'SELECT warm');
  for (let i = 0; i < 150; i++) namedStatement(pool, `SELECT other ${i}`);
  expect(namedStatement(pool, 'SELECT warm')).toBeDefined();
});

test('no more than so many have names, and no long one has', () => {
  const pool = newPool();
  const named = Array.from({ length: 1_000 }, (_, i) => {
    namedStatement(pool, `SELECT ${i}`);
    return namedStatement(pool, `SELECT ${i}`);
  }).filter((options) => options !== undefined);
  expect(new Set(named.map(({ name }) => name)).size).toBe(200);
  expect(namedStatement(pool, 'SELECT 0')).toEqual(named[0]);
  const long = `SELECT '${'x'.repeat(20_000)}'`;
  const other = newPool();
  for (let i = 0; i < 3; i++) expect(namedStatement(other, long)).toBeUndefined();
});
