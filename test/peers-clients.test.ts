/** What client libraries do by default, and what the pools say instead. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import dns from 'node:dns';
import { once } from 'node:events';
import { connect, createServer, Socket, type AddressInfo } from 'node:net';
import { defineCollection, openStorage } from '../src/index.js';
import { clientOf, describeServer as describeMongo, Fixture as MongoFixture } from './support/mongo/fixture.js';
import { ManualClock } from './support/manual-clock.js';
import { context, describeServer, Fixture, gate, rowsOf, serverUrl, until } from './support/postgres/fixture.js';

const Counters = defineCollection<{ n: number }>({ name: 'counters', id: 'given' });

describeServer('the clients of postgres', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  afterAll(() => fixture.close());

  test('every connection is kept alive by its socket, so that a dead way is found', async () => {
    const original = Reflect.get<typeof Socket.prototype, 'setKeepAlive'>(Socket.prototype, 'setKeepAlive');
    const asked: unknown[][] = [];
    Socket.prototype.setKeepAlive = function (this: Socket, ...parameters: [boolean?, number?]) {
      asked.push(parameters);
      return original.apply(this, parameters);
    };
    try {
      await fixture.pool();
    } finally {
      Socket.prototype.setKeepAlive = original;
    }
    expect(asked.length).toBeGreaterThan(0);
    for (const [on, delay] of asked) expect([on, Number(delay) > 0 && Number(delay) <= 60_000]).toEqual([true, true]);
  });

  test('connections opened together do not grow old together', async () => {
    const clock = new ManualClock();
    const pool = await fixture.pool(
      { pool: { max: 8, min: 0, lifetime: 100_000, idleTimeout: 900_000 } },
      fixture.url,
      clock,
    );
    const bounds = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
    const { passed: all, open } = gate();
    let begun = 0;
    // Each has its connection until all have one.
    const take = () =>
      pool.transaction({ context: bounds() }, async (session) => {
        await pool.query('SELECT 1', [], { ...bounds(), session });
        if (++begun === 8) open();
        await all;
      });
    await Promise.all(Array.from({ length: 8 }, take));
    await until(() => pool.figures().idle === 8);
    await clock.advance(89_000);
    expect(pool.figures().size).toBe(8);
    const sizes = new Set<number>();
    for (let second = 0; second < 14; second++) {
      await clock.advance(1_000);
      sizes.add(pool.figures().size);
    }
    expect(sizes).toContain(0);
    // All at once would be two: 8 and 0. That all eight draw one second has a chance of 1e-7.
    expect(sizes.size).toBeGreaterThan(2);
  });

  test('a name is looked up for every new connection: after a failover the next one goes to the new address', async () => {
    const { hostname, port } = new URL(serverUrl);
    const pairs = new Set<Socket>();
    let accepted = 0;
    const forward = createServer((socket) => {
      accepted++;
      const target = connect(Number(port), hostname);
      pairs.add(socket);
      for (const one of [socket, target]) one.on('error', () => undefined);
      socket.pipe(target).pipe(socket);
    });
    // The same port at two addresses: only the name's address changes.
    forward.listen(0, '127.0.0.1');
    await once(forward, 'listening');
    const own = (forward.address() as AddressInfo).port;
    let acceptedThere = 0;
    const other = createServer((socket) => {
      acceptedThere++;
      const target = connect(Number(port), hostname);
      for (const one of [socket, target]) one.on('error', () => undefined);
      socket.pipe(target).pipe(socket);
    });
    other.listen(own, '127.0.0.2');
    await once(other, 'listening');
    const lookup = Reflect.get<typeof dns, 'lookup'>(dns, 'lookup');
    let address = '127.0.0.1';
    (dns as { lookup: unknown }).lookup = (name: string, options: object, done: (...answer: unknown[]) => void) =>
      name !== 'primary.test'
        ? (lookup as (...parameters: unknown[]) => void)(name, options, done)
        : (options as { all?: boolean }).all === true
          ? done(null, [{ address, family: 4 }])
          : done(null, address, 4);
    try {
      const url = new URL(fixture.url);
      url.host = `primary.test:${own}`;
      const pool = await fixture.pool({ pool: { max: 1 } }, url.href);
      expect(accepted).toBeGreaterThan(0);
      address = '127.0.0.2';
      for (const socket of pairs) socket.resetAndDestroy();
      await until(() => pool.figures().size === 0);
      expect(await rowsOf(pool, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      expect(acceptedThere).toBeGreaterThan(0);
      await fixture.closePools();
    } finally {
      (dns as { lookup: unknown }).lookup = lookup;
      forward.close();
      other.close();
    }
  });

  test('two transactions that lock in opposite orders: the one that is ended runs again as a whole, and both are kept', async () => {
    const storage = await openStorage({ databases: { main: fixture.url } }, { environment: {} });
    try {
      const counters = storage.collection(Counters);
      for (const id of ['a', 'b']) await counters.save({ n: 0 }, { id });
      const gates = [gate(), gate()];
      let runs = 0;
      const add = (mine: number, [first, second]: [string, string]) =>
        storage.transaction(
          async (tx) => {
            runs++;
            await tx.collection(Counters).increment(first, 'n', 1);
            gates[mine]!.open();
            await gates[1 - mine]!.passed;
            await tx.collection(Counters).increment(second, 'n', 1);
          },
          { isolation: 'snapshot' },
        );
      await Promise.all([add(0, ['a', 'b']), add(1, ['b', 'a'])]);
      expect(runs).toBeGreaterThan(2);
      expect(await counters.getMany(['a', 'b'])).toMatchObject([{ value: { n: 2 } }, { value: { n: 2 } }]);
    } finally {
      await storage.close();
    }
  });

  test('a server that ends a deadlock says 40P01, which is a conflict that can be tried again', async () => {
    const pool = await fixture.pool({ pool: { max: 2 } });
    await pool.script('CREATE TABLE locked (id int PRIMARY KEY); INSERT INTO locked VALUES (1), (2)', context());
    const gates = [gate(), gate()];
    const lock = (mine: number, ids: number[]) =>
      pool.transaction({ context: context(), isolation: 'snapshot' }, async (session) => {
        await rowsOf(pool, `SELECT * FROM locked WHERE id = ${ids[0]} FOR UPDATE`, session);
        gates[mine]!.open();
        await gates[1 - mine]!.passed;
        await rowsOf(pool, `SELECT * FROM locked WHERE id = ${ids[1]} FOR UPDATE`, session);
      });
    const outcomes = await Promise.allSettled([lock(0, [1, 2]), lock(1, [2, 1])]);
    const ended = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(ended).toMatchObject([{ reason: { code: 'CONFLICT', retryable: true, cause: { code: '40P01' } } }]);
  });
});

describeMongo('mongo', 'the clients of mongo', () => {
  test('wait for nothing for ever, and are acknowledged by a majority, whatever the URL says', async () => {
    const fixture = await MongoFixture.open('mongo');
    const url = `${fixture.url}&w=0&readPreference=secondaryPreferred&socketTimeoutMS=0`;
    const pool = await fixture.pool({ pool: { max: 7, acquireTimeout: 1_234, connectTimeout: 2_345 } }, url);
    const { options } = clientOf(pool);
    expect(options).toMatchObject({
      maxPoolSize: 7,
      waitQueueTimeoutMS: 1_234,
      serverSelectionTimeoutMS: 2_345,
      connectTimeoutMS: 2_345,
      writeConcern: { w: 'majority' },
    });
    expect(options.socketTimeoutMS).toBeGreaterThan(0);
    expect(options.readPreference.mode).toBe('primary');
    await fixture.close();
  });
});
