/** Deletions of many records that others meet: what is gone meanwhile does not end them. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { RecordBackend } from '../src/backends/backend.js';
import { deleteMany } from '../src/backends/mongo/find.js';
import { defineCollection } from '../src/collection/definition.js';
import { ALL } from '../src/filter/syntax.js';
import type { MongoUse } from '../src/pools/mongo/operation-use.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import type { SqlPool } from '../src/pools/pool.js';
import { collectionOn } from '../src/testing/record-target.js';
import {
  backendOn,
  describeServer as describeMongo,
  Fixture as MongoFixture,
  type ServerName,
} from './support/mongo/fixture.js';
import { context, describeServer, Fixture, gate, until } from './support/postgres/fixture.js';

const Doomed = defineCollection<{ n?: number }>({ name: 'doomed', id: 'given', fields: { n: 'number' } });
const collection = Doomed.schema;
const SCOPE = { tenant: 'a' };

function items(count: number) {
  return Array.from({ length: count }, (_, n) => ({ id: `r${String(n).padStart(4, '0')}`, value: { n } }));
}

describeServer('PostgreSQL', () => {
  let fixture: Fixture;
  let pool: SqlPool;
  let backend: RecordBackend;
  beforeAll(async () => {
    fixture = await Fixture.open();
    ({ pool, backend } = await fixture.backend([collection]));
  });
  afterAll(() => fixture.close());

  /** Begins a deletion of what matches, and lets `text` commit when it waits for it. */
  async function deleteBeside(text: string, filter: object): Promise<number> {
    const { passed, open } = gate();
    const { passed: locked, open: hasLocked } = gate();
    const holder = pool.transaction({ context: context() }, async (session) => {
      await pool.query(text, [], context({ session }));
      hasLocked();
      await passed;
    });
    await locked;
    const deleting = collectionOn(backend, Doomed, SCOPE.tenant).deleteWhere(filter);
    await until(async () => {
      const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
      return (await pool.query(waiting, [], context())).rows.length > 0;
    });
    open();
    await holder;
    return deleting;
  }

  test.each([
    ['deleted', "DELETE FROM quartermaster.doomed WHERE id = 'r0000'", 0],
    ['changed', `UPDATE quartermaster.doomed SET value = '{"n": -1}' WHERE id = 'r0000'`, 1],
  ])('what another transaction %s meanwhile does not end a deletion of many', async (_what, text, left) => {
    const doomed = collectionOn(backend, Doomed, SCOPE.tenant);
    await doomed.load(items(2_500));
    expect(await deleteBeside(text, { n: { $gte: 0 } })).toBe(2_499);
    expect(await doomed.count()).toBe(left);
    expect(await doomed.deleteWhere({ all: true })).toBe(left);
  });

  test('what was changed meanwhile and matches still is deleted', async () => {
    const doomed = collectionOn(backend, Doomed, SCOPE.tenant);
    await doomed.load(items(1_200));
    const text = `UPDATE quartermaster.doomed SET value = '{"n": 5}', version = 2 WHERE id = 'r0000'`;
    expect(await deleteBeside(text, { n: { $gte: 0 } })).toBe(1_200);
    expect(await doomed.count()).toBe(0);
  });
});

/** The same use, with something that happens before the first deletion. */
function beforeDeletion(use: MongoUse, before: () => Promise<unknown>): MongoUse {
  let met = false;
  const wrapped = (name: string): object =>
    new Proxy(use.collection(name), {
      get(target, key) {
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== 'function') return member;
        if (key !== 'deleteMany' || met) return member.bind(target) as unknown;
        met = true;
        return async (...given: unknown[]): Promise<unknown> => {
          await before();
          return Reflect.apply(member, target, given) as unknown;
        };
      },
    });
  return Object.create(use, { collection: { value: wrapped } }) as MongoUse;
}

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeMongo(server, 'deletions of many', () => {
    let fixture: MongoFixture;
    let pool: MongoPool;
    let backend: RecordBackend;
    beforeAll(async () => {
      fixture = await MongoFixture.open(server);
      pool = await fixture.pool();
      backend = backendOn(pool);
      await backend.ensure([collection], context());
    });
    afterAll(() => fixture.close());

    test('as many are deleted as were asked for, though another writer deletes one that was found', async () => {
      const writes = items(25).map(({ id, value }) => ({ collection, id, kind: 'put', value }) as const);
      for (const write of writes) await backend.write(SCOPE, [write], context());
      const other = () => backend.write(SCOPE, [{ collection, id: 'r0000', kind: 'delete' }], context());
      const { now } = context();
      const gone = await pool.run('deleteMany', context(), (use) =>
        deleteMany(beforeDeletion(use, other), SCOPE, { collection, filter: ALL, limit: 10 }, now),
      );
      expect(gone).toBe(10);
      const rest = await pool.run('deleteMany', context(), (use) =>
        deleteMany(use, SCOPE, { collection, filter: ALL, limit: 20 }, now),
      );
      expect(rest).toBe(14);
      expect(await backend.count(SCOPE, { collection, filter: ALL }, context())).toBe(0);
    });
  });
