/** Batches on a server that others write meanwhile: the order of their locks, and what becomes of deadlocks. */
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { RecordBackend, Write } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import type { Session } from '../src/component.js';
import { ALL } from '../src/filter/syntax.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, describeServer, Fixture, gate, rowsOf, until } from './support/postgres/fixture.js';

const { schema: collection } = defineCollection<{ n: number }>({ name: 'rows', id: 'given', fields: { n: 'number' } });
const T = { tenant: 't' };

describeServer('batches on PostgreSQL', () => {
  let fixture: Fixture;
  let pool: SqlPool;
  let backend: RecordBackend;
  beforeAll(async () => {
    fixture = await Fixture.open();
    ({ pool, backend } = await fixture.backend([collection]));
  });
  beforeEach(() => pool.script('TRUNCATE quartermaster.rows', context()));
  afterAll(() => fixture.close());

  const put = (id: string, n = 0): Write => ({ kind: 'put', collection, id, value: { n } });
  const waiting = async (): Promise<boolean> => {
    const text =
      "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'";
    return (await rowsOf(pool, text)).length > 0;
  };
  const lock = (id: string, session: Session, manner = ''): Promise<readonly Record<string, unknown>[]> =>
    rowsOf(pool, `SELECT id FROM quartermaster.rows WHERE id = '${id}' FOR UPDATE ${manner}`, session);

  test('records are locked by code point, whatever the language of the database', async () => {
    await backend.write(T, [put('a'), put('B')], context());
    const batch = await pool.transaction({ context: context() }, async (session) => {
      await lock('B', session);
      const writing = backend.write(T, [put('a', 1), put('B', 1)], context());
      await until(waiting);
      // It waits for the first of its records and has none yet.
      expect(await lock('a', session, 'NOWAIT')).toHaveLength(1);
      return { writing };
    });
    expect((await batch.writing).map(({ status }) => status)).toEqual(['written', 'written']);
  });

  test('a batch that a deadlock undid is written again', async () => {
    await backend.write(T, [put('a'), put('b')], context());
    const { passed: locked, open: hasLocked } = gate();
    const holder = pool.transaction({ context: context() }, async (session) => {
      // The batch is the one that looks for deadlocks first.
      await rowsOf(pool, "SET LOCAL deadlock_timeout = '60s'", session);
      await lock('b', session);
      hasLocked();
      await until(waiting);
      // The batch has `a`, and waits for `b`.
      await lock('a', session);
      await rowsOf(pool, `UPDATE quartermaster.rows SET value = '{"n": 5}', version = version + 1`, session);
    });
    await locked;
    const results = await backend.write(T, [put('a', 1), put('b', 1)], context());
    await holder;
    expect(results.map((result) => 'version' in result && result.version)).toEqual([3, 3]);
    expect(await backend.count(T, { collection, filter: ALL }, context())).toBe(2);
  });
});
