/** One PGlite in memory, on a clock of the tests: no connection and no timer may be left after a test. */
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import type { OperationContext, Session } from '../../src/component.js';
import { pglite } from '../../src/pools/pglite/index.js';
import type { SqlPool, SqlValue } from '../../src/pools/pool.js';
import { ManualClock } from './manual-clock.js';
import { PGLITE_IN_MEMORY } from './pglite-memory.js';

export const clock = new ManualClock();
export const context = (more: Partial<OperationContext> = {}): OperationContext => ({
  now: clock.now(),
  deadline: clock.monotonic() + 60_000,
  ...more,
});

export const pool: SqlPool = pglite.create(PGLITE_IN_MEMORY, { acquireTimeout: 5_000 }, { clock, name: 'main' });

/** Opens it for the tests of a file, with an empty table `item (id, body)` before each. */
export function usePglite(): void {
  beforeAll(async () => {
    await pool.open({ clock, signal: new AbortController().signal });
    await pool.script('CREATE TABLE item (id int PRIMARY KEY, body jsonb)', context());
  });
  afterEach(async () => {
    expect(pool.figures()).toEqual({ size: 1, idle: 1, waiting: 0, max: 1 });
    expect(clock.timers).toBe(0);
    await pool.query('DELETE FROM item', [], context());
  });
  afterAll(() => pool.close(clock.monotonic() + 1_000));
}

export const query = async (text: string, ...parameters: SqlValue[]) =>
  (await pool.query(text, parameters, context())).rows;
export const insert = (id: number, session?: Session) =>
  pool.query('INSERT INTO item (id) VALUES ($1)', [id], context({ session }));
export const ids = async () => (await query('SELECT id FROM item ORDER BY id')).map((row) => row['id']);

/** A promise that a test settles. */
export function gate() {
  let open!: () => void;
  return { passed: new Promise<void>((resolve) => (open = resolve)), open };
}

/** A transaction that has the connection until `end` is called. */
export async function occupy(more: Partial<OperationContext> = {}) {
  const { passed, open } = gate();
  const begun = gate();
  const done = pool.transaction({ context: context(more) }, async () => {
    begun.open();
    await passed;
  });
  await begun.passed;
  return {
    done,
    end: () => {
      open();
      return done;
    },
  };
}
