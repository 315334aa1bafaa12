/** What undoes a part of a transaction undoes nothing of what is called beside it. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection } from '../src/index.js';
import type { RecordBackend } from '../src/backends/backend.js';
import { sql } from '../src/backends/sql/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { pglite } from '../src/pools/pglite/index.js';
import { systemClock as clock } from '../src/clock.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';
import { context, describeServer, Fixture, rowsOf } from './support/postgres/fixture.js';

const { schema } = defineCollection<{ n: number }>({ name: 'alone_notes', id: 'given' });
const scope = { tenant: 'default' };

function describePool(open: () => Promise<{ readonly pool: SqlPool; readonly close: () => Promise<void> }>): void {
  let pool: SqlPool;
  let close: () => Promise<void>;
  let backend: RecordBackend;
  beforeAll(async () => {
    ({ pool, close } = await open());
    backend = sql.create(pool, 'main');
    await backend.ensure([schema], context());
    await pool.script('CREATE TABLE beside (n int)', context());
  });
  afterAll(() => close());

  test('a batch that is refused leaves what other statements of its transaction write', async () => {
    const statuses = await pool.transaction({ context: context() }, async (session) => {
      const on = context({ session });
      const put = (id: string) => ({ collection: schema, kind: 'put', id, value: { n: 1 } }) as const;
      const replace = { collection: schema, kind: 'replace', id: 'absent', value: { n: 1 } } as const;
      const beside = (n: number) => pool.query(`INSERT INTO beside VALUES (${n})`, [], on);
      const calls = [
        beside(0),
        backend.write(scope, [put('a'), replace], on),
        beside(1),
        backend.write(scope, [put('b')], on),
        backend.write(scope, [put('c'), replace], on),
        beside(2),
      ] as const;
      const [, first, , second, third] = await Promise.all(calls);
      return [first, second, third].map((results) => results.map(({ status }) => status));
    });
    expect(statuses).toEqual([['skipped', 'missing'], ['written'], ['skipped', 'missing']]);
    expect((await rowsOf(pool, 'SELECT n FROM beside ORDER BY n')).map(({ n }) => n)).toEqual([0, 1, 2]);
    const found = await backend.read(
      scope,
      ['a', 'b', 'c'].map((id) => ({ collection: schema, id })),
      context(),
    );
    expect(found.filter((record) => record !== undefined).map(({ id }) => id)).toEqual(['b']);
  });
}

describeServer('statements beside a batch, on PostgreSQL', () => {
  describePool(async () => {
    const fixture = await Fixture.open();
    return { pool: await fixture.pool(), close: () => fixture.close() };
  });
});

describe('statements beside a batch, on PGlite', () => {
  describePool(async () => {
    const pool = pglite.create(PGLITE_IN_MEMORY, {}, { clock, name: 'main' });
    await pool.open({ clock, signal: new AbortController().signal });
    return { pool, close: () => pool.close(clock.monotonic() + 1_000) };
  });
});
