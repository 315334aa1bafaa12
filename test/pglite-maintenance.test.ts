import { expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import { pglite } from '../src/pools/pglite/index.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

test('what updates leave behind is used again, and the planner knows the tables', async () => {
  const pool = pglite.create(PGLITE_IN_MEMORY, { acquireTimeout: 60_000 }, { clock: systemClock, name: 'busy' });
  await pool.open({ clock: systemClock, signal: new AbortController().signal });
  const context = (): OperationContext => ({ now: new Date(), deadline: performance.now() + 60_000 });
  await pool.script('CREATE TABLE busy (id integer PRIMARY KEY, n integer, filler text)', context());
  await pool.query("INSERT INTO busy SELECT i, 0, repeat('x', 500) FROM generate_series(1, 1000) AS i", [], context());
  const size = async (): Promise<number> => {
    const { rows } = await pool.query("SELECT pg_relation_size('busy')::float8 AS size", [], context());
    return rows[0]!['size'] as number;
  };
  const first = await size();
  for (let i = 0; i < 40; i++) {
    await pool.query('UPDATE busy SET n = n + 1', [], context());
    // The connection's free moment.
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await size()).toBeLessThan(first * 25);
  const { rows } = await pool.query(
    "SELECT reltuples::float8 AS rows FROM pg_class WHERE relname = 'busy'",
    [],
    context(),
  );
  expect(rows[0]!['rows']).toBe(1_000);
  await pool.close(performance.now() + 5_000);
});
