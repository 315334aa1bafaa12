/** The turn of a host that begins transactions by statements on its client, as some query builders do. */
import { protocol, type PGlite } from '@electric-sql/pglite';
import { describe, expect, test } from '@jest/globals';
import { CompiledQuery, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import type { DatabaseConnection, Dialect } from 'kysely';
import { clock, context, gate, ids, insert, occupy, pool, query, usePglite } from './support/pglite.js';

usePglite();

const host = () => pool.raw!.client() as PGlite;
/** A simple query, as a message of the protocol. */
function message(text: string): Uint8Array {
  const bytes = Buffer.from(`Q0000${text}\0`);
  bytes.writeUInt32BE(bytes.length - 1, 1);
  return bytes;
}
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

test.each<[string, (client: PGlite, text: string) => Promise<unknown>]>([
  ['statements', (client, text) => client.query(text)],
  ['messages', (client, text) => client.execProtocol(message(text))],
])('%s that the host sends without waiting for its BEGIN are a part of that transaction', async (_title, send) => {
  for (const [text, expected] of [
    ['ROLLBACK', [2]],
    ['COMMIT', [1, 2, 3]],
  ] as const) {
    const client = host();
    const sent = [client.exec('BEGIN'), send(client, 'INSERT INTO item (id) VALUES (1)')];
    const beside = text === 'COMMIT' ? insert(3) : insert(2);
    sent.push(send(client, text), send(client, 'SELECT 1'));
    await Promise.all(sent);
    await beside;
    expect(await ids()).toEqual(expected);
  }
  const begun = send(host(), 'BEGIN');
  await Promise.all([begun, host().query('INSERT INTO item (id) VALUES (4)')]);
  await host().query('ROLLBACK');
  expect(await ids()).toEqual([1, 2, 3]);
});

test('a function of the host that waits for its turn is no part of a transaction that another begins meanwhile', async () => {
  const client = host();
  const ours = await occupy();
  const other = (async () => {
    await client.query('BEGIN');
    await client.query('INSERT INTO item (id) VALUES (1)');
    await client.query('ROLLBACK');
  })();
  const functions = [
    client.transaction((tx) => tx.query('INSERT INTO item (id) VALUES (2)')),
    client.runExclusive(() => client.execProtocol(message('INSERT INTO item (id) VALUES (3)'))),
  ];
  await ours.end();
  await Promise.all([other, ...functions]);
  expect(await ids()).toEqual([2, 3]);
});

test('what the host sends without waiting goes in its order, also after what waited', async () => {
  const client = host();
  const begun = client.exec('BEGIN').then(() => client.query('SELECT id FROM item'));
  const inserted = client.query('INSERT INTO item (id) VALUES (1)');
  expect((await begun).rows).toEqual([{ id: 1 }]);
  await inserted;
  await client.exec('ROLLBACK');
});

describe('beside a transaction of the pool', () => {
  const calls: Record<string, (client: PGlite) => Promise<unknown>> = {
    query: (client) => client.query('SELECT 1'),
    sql: (client) => client.sql`SELECT 1`,
    exec: (client) => client.exec('SELECT 1'),
    describeQuery: (client) => client.describeQuery('SELECT 1'),
    transaction: (client) => client.transaction((tx) => tx.query('SELECT 1')),
    runExclusive: (client) => client.runExclusive(async () => 1),
    dumpDataDir: (client) => client.dumpDataDir('none'),
    clone: async (client) => (await client.clone()).close(),
    refreshArrayTypes: (client) => client.refreshArrayTypes(),
    listen: (client) => client.listen('chatter', () => undefined),
    unlisten: (client) => client.unlisten('chatter'),
    execProtocol: (client) => client.execProtocol(message('SELECT 1')),
    execProtocolStream: (client) => client.execProtocolStream(message('SELECT 1')),
    execProtocolRaw: (client) => client.execProtocolRaw(message('SELECT 1')),
    execProtocolRawStream: (client) =>
      client.execProtocolRawStream(message('SELECT 1'), { onRawData: () => undefined }),
  };
  test.each(Object.keys(calls))('%s waits for its turn', async (name) => {
    const { end } = await occupy();
    const called = calls[name]!(host());
    const { waiting } = pool.figures();
    await end();
    await called;
    expect(waiting).toBe(1);
  });

  test('what it listens to is heard when that is rolled back, and no more when it has ended', async () => {
    const begun = gate();
    const { passed, open } = gate();
    const ours = pool.transaction({ context: context() }, async (session) => {
      await insert(1, session);
      begun.open();
      await passed;
      throw undone;
    });
    await begun.passed;
    const heard: string[] = [];
    const listening = host().listen('news', (text) => void heard.push(text));
    open();
    await expect(ours).rejects.toBe(undone);
    const end = await listening;
    await host().query("NOTIFY news, 'one'");
    expect(heard).toEqual(['one']);
    const { end: endOurs } = await occupy();
    const ended = end();
    const { waiting } = pool.figures();
    await Promise.all([endOurs(), ended]);
    expect(waiting).toBe(1);
    await host().query("NOTIFY news, 'two'");
    expect(heard).toEqual(['one']);
    expect(await query('SELECT * FROM pg_listening_channels()')).toEqual([]);
  });

  test('its message that fails is no part of that', async () => {
    const begun = gate();
    const { passed, open } = gate();
    const ours = pool.transaction({ context: context() }, async (session) => {
      begun.open();
      await passed;
      await insert(1, session);
    });
    await begun.passed;
    const failing = expect(host().execProtocol(message('SELECT 1/0'))).rejects.toMatchObject({ code: '22012' });
    open();
    await ours;
    await failing;
    expect(await ids()).toEqual([1]);
  });

  test('a message that cannot wait is refused', () => {
    expect(() => host().execProtocolRawSync(message('SELECT 1'))).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
  });

  test('it cannot close the database', async () => {
    await expect(host().close()).rejects.toMatchObject({ code: 'VALIDATION' });
    await expect(host()[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(await query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

describe('messages of which the last asks whether the database is ready', () => {
  const question = () => protocol.serialize.parse({ text: 'SELECT $1::int AS n' });
  const rest = (): Uint8Array =>
    Buffer.concat([
      protocol.serialize.bind({ values: ['7'] }),
      protocol.serialize.execute({}),
      protocol.serialize.sync(),
    ]);
  const answers = async (sent: Promise<{ readonly messages: readonly { readonly name: string }[] }>) =>
    (await sent).messages.filter((answer) => answer.name === 'dataRow');

  test('are answered as if they were one, whatever the pool does meanwhile', async () => {
    const client = host();
    await client.execProtocol(question());
    const beside = [insert(1), client.query('SELECT 1')];
    expect(pool.figures()).toMatchObject({ waiting: 2 });
    expect(await answers(client.execProtocol(rest()))).toMatchObject([{ fields: ['7'] }]);
    await Promise.all(beside);
    expect(await ids()).toEqual([1]);
  });

  test('may be sent without waiting for each other', async () => {
    const [, answer] = [host().execProtocol(question()), host().execProtocol(rest())];
    expect(await answers(answer)).toMatchObject([{ fields: ['7'] }]);
    const failing = host().execProtocol(protocol.serialize.parse({ text: 'SELECT no_such_column' }));
    const after = host().execProtocol(protocol.serialize.sync());
    await expect(failing).rejects.toMatchObject({ code: '42703' });
    await after;
    await insert(1);
  });

  test('that has failed, and that the host ends by no Sync, has the turn no more', async () => {
    await expect(host().execProtocol(protocol.serialize.parse({ text: 'SELEC 1' }))).rejects.toMatchObject({
      code: '42601',
    });
    const beside = [insert(1), host().query('SELECT 1')];
    await clock.advance(0);
    await Promise.all(beside);
    expect(await answers(host().execProtocol(Buffer.concat([question(), rest()])))).toMatchObject([{ fields: ['7'] }]);
  });

  test('that has failed is passed over up to the Sync of those that were sent with it', async () => {
    const client = host();
    const sent = [
      client.execProtocol(protocol.serialize.parse({ text: 'SELEC 1' })),
      client.execProtocol(protocol.serialize.parse({ text: 'INSERT INTO item (id) VALUES (1)' })),
      client.execProtocol(protocol.serialize.bind({})),
      client.execProtocol(protocol.serialize.execute({})),
    ];
    expect(await Promise.allSettled(sent)).toMatchObject([{ reason: { code: '42601' } }, {}, {}, {}]);
    await client.execProtocol(protocol.serialize.sync());
    expect(await ids()).toEqual([]);
  });

  test.each(['', ', in a transaction of its own,'])(
    'and that a host has left%s without a Sync have the turn for so long',
    async (beginning) => {
      const client = host();
      if (beginning !== '') await client.exec('BEGIN');
      await client.execProtocol(question());
      await clock.advance(2_999);
      await client.execProtocol(protocol.serialize.describe({ type: 'S' }));
      if (beginning !== '') await client.exec('COMMIT');
      const beside = insert(1);
      await clock.advance(2_999);
      expect(pool.figures()).toMatchObject({ waiting: 1 });
      await clock.advance(1);
      await beside;
      expect(await ids()).toEqual([1]);
    },
  );
});

test('messages and channels are part of what has the turn', async () => {
  const client = host();
  await client.runExclusive(async () => {
    client.execProtocolRawSync(message('INSERT INTO item (id) VALUES (1)'));
    await client.execProtocol(message('INSERT INTO item (id) VALUES (2)'));
  });
  await client.exec('BEGIN');
  client.execProtocolRawSync(message('INSERT INTO item (id) VALUES (3)'));
  await client.execProtocol(message('INSERT INTO item (id) VALUES (4)'));
  await client.exec('COMMIT');
  const heard: string[] = [];
  const end = await client.transaction(async (tx) => {
    await client.execProtocol(message('INSERT INTO item (id) VALUES (5)'));
    return client.listen('news', (text) => void heard.push(text), tx);
  });
  await client.query("NOTIFY news, 'one'");
  await client.transaction((tx) => end(tx));
  await client.query("NOTIFY news, 'two'");
  expect(heard).toEqual(['one']);
  expect(await ids()).toEqual([1, 2, 3, 4, 5]);
});
