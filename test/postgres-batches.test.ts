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
    ({ pool, backend } = await fixture.backend([collection], fixture.deadlockUrl));
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

  const all = { collection, filter: ALL };
  test.each<[string, readonly unknown[], () => Promise<unknown>]>([
    [
      'a batch',
      [3, 3],
      async () => {
        const results = await backend.write(T, [put('a', 1), put('b', 1)], context());
        return results.map((result) => 'version' in result && result.version);
      },
    ],
    [
      'a change of many',
      [2, 2],
      async () => {
        const changed = await backend.updateMany!(T, { ...all, changes: { increment: { n: 1 } } }, context());
        return [changed, await backend.count(T, all, context())];
      },
    ],
    [
      'a deletion of many',
      [2, 0],
      async () => {
        const deleted = await backend.deleteMany!(T, { ...all, limit: 10 }, context());
        return [deleted, await backend.count(T, all, context())];
      },
    ],
  ])('%s that a deadlock undid is run again', async (_name, expected, run) => {
    for (const id of ['a', 'b']) await backend.write(T, [put(id)], context());
    const { passed: locked, open: hasLocked } = gate();
    const holder = pool.transaction({ context: context() }, async (session) => {
      // The other one is the one that looks for deadlocks first.
      await rowsOf(pool, "SET LOCAL deadlock_timeout = '60s'", session);
      await lock('b', session);
      hasLocked();
      await until(waiting);
      // It has `a`, and waits for `b`.
      await lock('a', session);
      await rowsOf(pool, `UPDATE quartermaster.rows SET value = '{"n": 5}', version = version + 1`, session);
    });
    await locked;
    expect(await run()).toEqual(expected);
    await holder;
  });
});
