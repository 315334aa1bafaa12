/** Rows by COPY: what goes wrong in the middle of it leaves neither rows nor a connection that cannot be used. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { OperationContext } from '../src/component.js';
import type { PostgresDialectPool, SqlPool } from '../src/pools/pool.js';
import { backendPid, context, describeServer, Fixture, gate, rowsOf, until } from './support/postgres/fixture.js';
import { ManualClock } from './support/manual-clock.js';
import { OwnServer, serverPrograms } from './support/postgres/own-server.js';

/** More than the sockets between us and a server hold. */
const MANY = 200_000;

let fixture: Fixture;
let pool: PostgresDialectPool;
/** How many lines the pool has taken. */
let taken = 0;

function* lines(count: number, each: (i: number) => void = () => undefined): Iterable<string> {
  for (taken = 0; taken < count; taken++) {
    each(taken);
    yield `${taken}\t${'x'.repeat(200)}\n`;
  }
}
const copy = (rows: Iterable<string>, more: Partial<OperationContext> & { timeout?: number } = {}) =>
  pool.copyIn('item (id, body)', rows, context(more));
const count = async (from: SqlPool = pool) => (await rowsOf(from, 'SELECT count(*) AS n FROM item'))[0]!['n'];

/** A transaction that holds the id of the first row. */
async function holder() {
  const held = gate();
  const release = gate();
  const done = pool.transaction({ context: context() }, async (session) => {
    await pool.query('INSERT INTO item VALUES (0)', [], context({ session }));
    held.open();
    await release.passed;
  });
  done.catch(() => undefined);
  await held.passed;
  return { done, release: release.open };
}

/** Those of this database. */
const COPIES = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY item%'";

/** A copy that waits for such a transaction. */
async function blocked(begin: () => Promise<void>) {
  const held = await holder();
  const copying = begin();
  copying.catch(() => undefined);
  const waits = `${COPIES} AND wait_event_type = 'Lock'`;
  await until(async () => (await rowsOf(pool, waits)).length > 0);
  return { ...held, copying };
}

const TABLE = 'DROP TABLE IF EXISTS item; CREATE TABLE item (id int PRIMARY KEY, body text)';

describeServer('rows by COPY', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
    pool = (await fixture.pool({ pool: { max: 4 } })) as PostgresDialectPool;
  });
  beforeEach(() => pool.script(TABLE, context()));
  afterEach(() => until(() => pool.figures().idle === pool.figures().size));
  afterAll(() => fixture.close());

  test('any number of rows', async () => {
    await copy(lines(MANY));
    expect(await count()).toBe(MANY);
    await copy([]);
    expect(await count()).toBe(MANY);
  });

  test('a constraint broken in the middle: nothing is kept but the connection', async () => {
    const pid = await backendPid(pool);
    await pool.query('INSERT INTO item VALUES ($1)', [MANY / 2], context());
    await expect(copy(lines(MANY))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { constraint: 'item_pkey' },
    });
    expect(await backendPid(pool)).toBe(pid);
    expect(await count()).toBe(1);
  });

  test('rows that cannot be made: the error is theirs, and the connection is kept', async () => {
    const pid = await backendPid(pool);
    const fault = new Error('no row');
    const broken = lines(MANY, (i) => {
      if (i === MANY / 2) throw fault;
    });
    await expect(copy(broken)).rejects.toMatchObject({ code: 'INTERNAL', cause: fault });
    expect(await backendPid(pool)).toBe(pid);
    expect(await count()).toBe(0);
  });

  test('rows that the server cannot read, and a table that is not there', async () => {
    const pid = await backendPid(pool);
    await expect(copy(['x\ty\n'])).rejects.toMatchObject({ code: 'INTERNAL', details: { sqlstate: '22P02' } });
    taken = -1;
    await expect(pool.copyIn('nothing (id)', lines(MANY), context())).rejects.toMatchObject({
      details: { sqlstate: '42P01' },
    });
    expect(taken).toBe(-1);
    expect(await backendPid(pool)).toBe(pid);
  });

  test('a signal in the middle: the connection is given up, and nothing is kept', async () => {
    const pid = await backendPid(pool);
    const cut = new AbortController();
    const cutting = lines(MANY, (i) => i === MANY / 2 && cut.abort());
    await expect(copy(cutting, { signal: cut.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    expect(taken).toBeLessThan(MANY);
    expect(await backendPid(pool)).not.toBe(pid);
    expect(await count()).toBe(0);
  });

  test('no more rows are taken than the server takes; a deadline ends it', async () => {
    const manual = new ManualClock();
    const own = (await fixture.pool({ pool: { max: 1 } }, fixture.url, manual)) as PostgresDialectPool;
    const bounds = { now: manual.now(), deadline: manual.monotonic() + 1_000 };
    const { copying, done, release } = await blocked(() => own.copyIn('item (id, body)', lines(MANY), bounds));
    await manual.advance(1_000);
    await expect(copying).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(taken).toBeLessThan(MANY / 2);
    release();
    await done;
    await own.close(0);
    const running = `${COPIES} AND state = 'active'`;
    await until(async () => (await rowsOf(pool, running)).length === 0);
    expect(await count()).toBe(1);
  });

  describe('in a transaction', () => {
    test('it is part of it, also as its first statement', async () => {
      await pool.transaction({ context: context() }, async (session) => {
        await copy(lines(10), { session });
        expect(await rowsOf(pool, 'SELECT count(*) AS n FROM item', session)).toEqual([{ n: 10 }]);
        expect(await count()).toBe(0);
      });
      expect(await count()).toBe(10);
    });

    test('a constraint broken in it undoes it alone', async () => {
      await pool.query('INSERT INTO item VALUES (5)', [], context());
      await pool.transaction({ context: context() }, async (session) => {
        await expect(copy(lines(10), { session })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
        await pool.query('INSERT INTO item VALUES (20)', [], context({ session }));
        await expect(copy(lines(10), { session })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      });
      expect((await rowsOf(pool, 'SELECT id FROM item ORDER BY id')).map(({ id }) => id)).toEqual([5, 20]);
    });

    test('any other fault fails the transaction', async () => {
      const work = pool.transaction({ context: context() }, async (session) => {
        await expect(copy(['x\ty\n'], { session })).rejects.toMatchObject({ details: { sqlstate: '22P02' } });
        await expect(copy(lines(1), { session })).rejects.toMatchObject({ details: { sqlstate: '22P02' } });
      });
      await expect(work).rejects.toMatchObject({ details: { sqlstate: '22P02' } });
      expect(await count()).toBe(0);
    });

    test('a deadline of the transaction in the middle', async () => {
      const { done, release } = await holder();
      const work = pool.transaction({ context: context({ timeout: 500 }) }, (session) =>
        copy(lines(MANY), { session, timeout: 60_000 }),
      );
      await expect(work).rejects.toMatchObject({ code: 'TIMEOUT' });
      release();
      await done;
      expect(await count()).toBe(1);
    });
  });
});

const programs = serverPrograms();
const describeOwn = programs === undefined ? describe.skip : describe;

describeOwn(
  `a server killed in the middle${programs === undefined ? ' (waits for PostgreSQL installed here)' : ''}`,
  () => {
    let server: OwnServer;
    beforeAll(async () => {
      server = await OwnServer.create(programs!);
    });
    beforeEach(async () => {
      server.start();
      await server.ready();
      await until(() =>
        Fixture.open(server.url).then(
          (opened) => Boolean((fixture = opened)),
          () => false,
        ),
      );
      pool = (await fixture.pool({ pool: { max: 4 } })) as PostgresDialectPool;
      await pool.script(TABLE, context());
    });
    afterEach(() => fixture.closePools());
    afterAll(() => server.remove());

    test.each([
      ['before it has all rows: it cannot have kept them', MANY, 'UNAVAILABLE'],
      ['when it has all rows: nobody knows', 10, 'OUTCOME_UNKNOWN'],
    ])('%s', async (_when, rows, code) => {
      const { copying, release } = await blocked(() => copy(lines(rows)));
      await server.kill('SIGKILL');
      await expect(copying).rejects.toMatchObject({ code });
      release();
      server.start();
      await until(() =>
        count().then(
          (n) => n === 0,
          () => false,
        ),
      );
      await copy(lines(10));
      expect(await count()).toBe(10);
      await server.kill('SIGKILL');
    });
  },
);
