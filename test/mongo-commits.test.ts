/** Commits in MongoDB that are never sent: they are no outcome that nobody knows, and nothing of them stays. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { RecordBackend } from '../src/backends/backend.js';
import type { Session } from '../src/component.js';
import { defineCollection } from '../src/collection/definition.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import { backendOn, clientOf, context, describeServer, failure, Fixture, write } from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

const { schema } = defineCollection<{ n: number }>({ name: 'accounts', id: 'given' });
const SCOPE = { tenant: 't' };
const KEY = { collection: schema, id: 'a' };

const insert = write(schema, 'a', { kind: 'insert', value: { n: 1 } });

describeServer('mongo', 'commits that are never sent', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  let direct: RecordBackend;
  beforeEach(async () => {
    fixture = await Fixture.open('mongo');
    direct = backendOn(await fixture.pool());
    await direct.ensure([schema], context());
    proxy = await Proxy.open(fixture.url);
  });
  afterEach(async () => {
    await fixture.close();
    await proxy.close();
  });

  const open = (settings: Record<string, number>): Promise<MongoPool> =>
    fixture.pool({ pool: settings }, proxy.through(fixture.url));

  /** Makes the record in a transaction, whose function ends when `before` has. */
  const commitAfter = (pool: MongoPool, before: () => Promise<void>, more: Parameters<typeof context>[0] = {}) =>
    failure(
      pool.transaction({ context: context(more) }, async (session: Session) => {
        await backendOn(pool).write(SCOPE, [insert], context({ session }));
        await before();
      }),
    );

  /** That the record can be made says that no open transaction has it either: the server gives one a minute. */
  const expectNothing = async (): Promise<void> => {
    expect(proxy.count('commitTransaction')).toBe(0);
    expect(await direct.write(SCOPE, [insert], context({ timeout: 30_000 }))).toMatchObject([{ status: 'written' }]);
  };

  /** A query has the only connection until `proxy.thaw`. */
  const occupied = async (query: () => Promise<unknown>): Promise<void> => {
    proxy.blackHoleAt('find');
    void query().catch(() => undefined);
    while (proxy.deadConnections === 0) await new Promise(setImmediate);
  };

  test.each([
    ['TIMEOUT', 60_000, () => ({ timeout: 2_000 })],
    ['ABORTED', 60_000, () => ({ signal: AbortSignal.timeout(1_000) })],
    ['UNAVAILABLE', 4_000, () => ({})],
  ])('one that waits for a connection of ours ends with %s', async (code, acquireTimeout, more) => {
    const pool = await open({ max: 1, acquireTimeout });
    const query = () => backendOn(pool).read(SCOPE, [KEY], context());
    const { error } = await commitAfter(pool, () => occupied(query), more());
    expect(error).toMatchObject({ code });
    proxy.thaw();
    await expectNothing();
  });

  test('one that waits for a connection that the host has can be tried again', async () => {
    const pool = await open({ max: 1, acquireTimeout: 4_000 });
    const query = () => clientOf(pool).db().collection('any').findOne({});
    const { error } = await commitAfter(pool, () => occupied(query));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    proxy.thaw();
    await expectNothing();
  });

  test('one that finds no server can be tried again', async () => {
    const pool = await open({ connectTimeout: 2_000 });
    const { error } = await commitAfter(pool, async () => {
      proxy.goAway();
      // The client has seen that its connections are gone.
      while (pool.figures().size > 0) await new Promise(setImmediate);
    });
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(proxy.count('commitTransaction')).toBe(0);
    expect(await direct.read(SCOPE, [KEY], context())).toEqual([undefined]);
  });

  test('one of a client that does not tell what it sends is an outcome that nobody knows', async () => {
    const pool = await open({ connectTimeout: 2_000 });
    const client = clientOf(pool);
    const startSession = client.startSession.bind(client);
    client.startSession = (options) => {
      const session = startSession(options);
      let time = session.serverSession.lastUse;
      // What the client itself writes there is passed over.
      const set = (next: number): void => void (time = next === time - 1 ? next : time);
      Object.defineProperty(session.serverSession, 'lastUse', { get: () => time, set });
      return session;
    };
    const { error } = await commitAfter(
      pool,
      async () => {
        proxy.goAway();
        while (pool.figures().size > 0) await new Promise(setImmediate);
      },
      { timeout: 6_000 },
    );
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false });
  });

  test('one that asks for nothing waits for no connection', async () => {
    const pool = await open({ max: 1 });
    const query = () => backendOn(pool).read(SCOPE, [KEY], context());
    await pool.transaction({ context: context() }, () => occupied(query));
    proxy.thaw();
  });
});
