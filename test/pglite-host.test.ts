/** The turn of a host that begins transactions by statements on its client, as some query builders do. */
import type { PGlite } from '@electric-sql/pglite';
import { expect, test } from '@jest/globals';
import { CompiledQuery, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import type { DatabaseConnection, Dialect } from 'kysely';
import { clock, context, ids, insert, pool, query, usePglite } from './support/pglite.js';

usePglite();

const host = () => pool.raw!.client() as PGlite;
const undone = new Error('undone');

/** A dialect as hosts write it for this client: one connection, BEGIN and COMMIT as statements. */
function dialect(client: PGlite): Dialect {
  const run = async <R>({ sql, parameters }: CompiledQuery) => {
    const { rows } = await client.query<R>(sql, [...parameters]);
    return { rows };
  };
  const connection: DatabaseConnection = {
    executeQuery: run,
    streamQuery: () => {
      throw new Error('none');
    },
  };
  const say = (text: string) => async (): Promise<void> => {
    await run(CompiledQuery.raw(text));
  };
  return {
    createAdapter: () => new PostgresAdapter(),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createIntrospector: (db) => new PostgresIntrospector(db as Kysely<unknown>),
    createDriver: () => ({
      init: async () => undefined,
      acquireConnection: async () => connection,
      releaseConnection: async () => undefined,
      beginTransaction: say('begin'),
      commitTransaction: say('commit'),
      rollbackTransaction: say('rollback'),
      destroy: async () => undefined,
    }),
  };
}

test('what the pool does while a query builder has a transaction open is no part of it', async () => {
  const db = new Kysely<{ item: { id: number } }>({ dialect: dialect(host()) });
  let beside: Promise<unknown> | undefined;
  const work = db.transaction().execute(async (trx) => {
    await trx.insertInto('item').values({ id: 1 }).execute();
    beside = insert(2);
    await trx.insertInto('item').values({ id: 3 }).execute();
    throw undone;
  });
  await expect(work).rejects.toBe(undone);
  await beside;
  expect(await ids()).toEqual([2]);
  await db.transaction().execute((trx) => trx.insertInto('item').values({ id: 4 }).execute());
  expect(await ids()).toEqual([2, 4]);
});

test('a transaction that has failed, or that the host has left open, keeps the turn until it is ended', async () => {
  await host().exec('BEGIN');
  await expect(host().query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
  const waiting = expect(query('SELECT 1 AS one')).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
  await clock.advance(5_000);
  await waiting;
  const next = query('SELECT 1 AS one');
  await Promise.all([host().exec('ROLLBACK'), host().query('SELECT 2')]);
  expect(await next).toEqual([{ one: 1 }]);
});

test('a transaction of the pool waits for that of the host', async () => {
  await host().query('BEGIN');
  const ours = pool.transaction({ context: context() }, (session) => insert(1, session));
  await host().query('INSERT INTO item (id) VALUES (2)');
  await host().query('ROLLBACK');
  await ours;
  expect(await ids()).toEqual([1]);
});
