/**
 * New records in transactions on PostgreSQL: they travel with the next statement, or with the COMMIT. What they fail by is not
 * lost, nor is a connection.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type pg from 'pg';
import type { StorageError } from '../src/index.js';
import { defineCollection, openStorage, type StorageManager, type Transaction } from '../src/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, describeServer, Fixture, gate, rowsOf, serverUrl, until } from './support/postgres/fixture.js';
import { Proxy } from './support/proxy.js';

interface Note {
  readonly text: string;
  readonly email?: string;
}

const Notes = defineCollection<Note>({
  name: 'ahead_notes',
  fields: { email: 'string' },
  unique: [{ name: 'email', fields: ['email'] }],
});

/** What a note's text makes the server do. */
const TRIGGER = `
  CREATE SEQUENCE quartermaster.tries;
  CREATE FUNCTION quartermaster.judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    CASE new.value ->> 'text'
      WHEN 'refused' THEN RAISE check_violation;
      WHEN 'conflict' THEN IF nextval('quartermaster.tries') = 1 THEN RAISE serialization_failure; END IF;
      WHEN 'slow' THEN PERFORM pg_sleep(30);
      ELSE NULL;
    END CASE;
    RETURN new;
  END $$;
  CREATE TRIGGER judge BEFORE INSERT ON quartermaster.ahead_notes FOR EACH ROW EXECUTE FUNCTION quartermaster.judge()`;

describeServer('new records in transactions on PostgreSQL', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  let storage: StorageManager;
  let direct: SqlPool;
  beforeAll(async () => {
    fixture = await Fixture.open();
    direct = await fixture.pool();
    await using first = await openStorage({ databases: { main: fixture.url } }, { environment: {} });
    await first.prepare([Notes], { stores: ['tasks'], on: 'main' });
    await direct.script(TRIGGER, { now: new Date(), deadline: Infinity });
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
    const main = { url: fixture.through(proxy.port), pool: { max: 1 } };
    storage = await openStorage({ databases: { main }, lifecycle: { sweepInterval: 0 } }, { environment: {} });
    await storage.prepare([Notes], { stores: ['tasks'] });
    await storage.transaction(async (tx) => {
      await tx.collection(Notes).insert({ text: 'warm' });
      await tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 0 });
    });
  });
  afterEach(async () => {
    await storage.close();
    await proxy.close();
  });
  afterAll(() => fixture.close());

  const insert = (tx: Transaction, text: string) => tx.collection(Notes).insert({ text });
  const texts = async (text: string): Promise<number> =>
    (await rowsOf(direct, `SELECT 1 FROM quartermaster.ahead_notes WHERE value ->> 'text' = '${text}'`)).length;
  const pidOf = async (): Promise<unknown> => {
    const rows = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ahead_notes%'";
    return (await rowsOf(direct, `${rows} AND pid <> pg_backend_pid() AND state = 'active'`))[0]?.['pid'];
  };

  test.each<[string, number, (tx: Transaction) => Promise<unknown>]>([
    ['a record', 1, (tx) => insert(tx, 'one')],
    [
      'ten, one after another',
      1,
      async (tx) => {
        for (let n = 0; n < 10; n++) await insert(tx, 'one');
      },
    ],
    ['a task with its event', 1, (tx) => tx.tasks.create({ title: 'pack' })],
    [
      'a record, and a message of a key that waits',
      2,
      async (tx) => {
        await insert(tx, 'one');
        await tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1 });
      },
    ],
    [
      'a record under an id of the caller',
      2,
      (tx) => tx.collection(Notes).save({ text: 'one' }, { id: crypto.randomUUID() }),
    ],
    [
      'a record with a key of a constraint',
      2,
      (tx) => tx.collection(Notes).insert({ text: 'one', email: crypto.randomUUID() }),
    ],
    [
      'a record whose call has a signal',
      2,
      (tx) => tx.collection(Notes).insert({ text: 'one' }, { signal: new AbortController().signal }),
    ],
    ['a record in a transaction within', 2, (tx) => tx.transaction((part) => insert(part, 'one'))],
  ])('%s: so many round trips: %i', async (_what, trips, work) => {
    await storage.transaction(work);
    // So that no answer comes between two messages by chance.
    proxy.delay(20);
    const before = proxy.roundTrips;
    await storage.transaction(work);
    expect(proxy.roundTrips - before).toBe(trips);
  });

  test('what one fails by is thrown at the commit, whose function is over; nothing is kept, and the connection serves', async () => {
    const told: string[] = [];
    const work = storage.transaction(async (tx) => {
      tx.onCommit(() => void told.push('committed'));
      tx.onRollback(() => void told.push('rolled back'));
      await insert(tx, 'beside');
      await insert(tx, 'refused');
      told.push('returned');
    });
    await expect(work).rejects.toMatchObject({ code: 'INTERNAL', details: { sqlstate: '23514' } });
    expect(told).toEqual(['returned', 'rolled back']);
    expect(await texts('beside')).toBe(0);
    expect(await storage.collection(Notes).count({})).toBeGreaterThan(0);
  });

  test('and at the next statement before that, and at all that follow', async () => {
    const codes: string[] = [];
    const work = storage.transaction(async (tx) => {
      await insert(tx, 'refused');
      for (let n = 0; n < 2; n++)
        await tx
          .collection(Notes)
          .count({})
          .catch((error: StorageError) => codes.push(String(error.details['sqlstate'])));
    });
    await expect(work).rejects.toMatchObject({ details: { sqlstate: '23514' } });
    expect(codes).toEqual(['23514', '23514']);
  });

  test('a conflict that it meets runs the function again', async () => {
    let runs = 0;
    await storage.transaction(async (tx) => {
      runs++;
      await insert(tx, 'conflict');
    });
    expect(runs).toBe(2);
    expect(await texts('conflict')).toBe(1);
  });

  test('a part fails by what was left before it, whatever its function makes of that; one that fails in a part is undone with it', async () => {
    const told: unknown[] = [];
    const tell = (error: StorageError): unknown => told.push(error.details['sqlstate']);
    const work = storage.transaction(async (tx) => {
      await insert(tx, 'refused');
      const part = tx.transaction(async (inner) => {
        await inner.collection(Notes).count({}).catch(tell);
        await inner.collection(Notes).count({}).catch(tell);
      });
      await part.catch(tell);
    });
    await expect(work).rejects.toMatchObject({ details: { sqlstate: '23514' } });
    expect(told).toEqual(['23514', '23514', '23514']);
    await storage.transaction(async (tx) => {
      await insert(tx, 'kept');
      const part = tx.transaction((inner) => insert(inner, 'refused'));
      await expect(part).rejects.toMatchObject({ details: { sqlstate: '23514' } });
      await insert(tx, 'kept');
    });
    expect(await texts('kept')).toBe(2);
  });

  test('a function that throws meanwhile: nothing is kept, and the connection goes on', async () => {
    const pid = async (): Promise<unknown> => {
      const ended =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query IN ('COMMIT', 'ROLLBACK')";
      return (await rowsOf(direct, ended)).map((row) => row['pid']);
    };
    const before = await pid();
    expect(before).toHaveLength(1);
    proxy.delay(10);
    const work = storage.transaction(async (tx) => {
      await insert(tx, 'thrown');
      throw new Error('changed my mind');
    });
    await expect(work).rejects.toThrow('changed my mind');
    expect(await texts('thrown')).toBe(0);
    expect(await pid()).toEqual(before);
  });

  test('a server that says it ends the connection has not committed', async () => {
    const work = storage.transaction((tx) => insert(tx, 'slow'));
    const outcome = expect(work).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    let pid: unknown;
    await until(async () => (pid = await pidOf()) !== undefined);
    await rowsOf(direct, `SELECT pg_terminate_backend(${String(pid)})`);
    await outcome;
    expect(await texts('slow')).toBe(0);
  });

  test('a way that is cut under it leaves an outcome that nobody knows, run once, and neither hook is told', async () => {
    const told: string[] = [];
    const work = storage.transaction(async (tx) => {
      told.push('run');
      tx.onCommit(() => void told.push('committed'));
      tx.onRollback(() => void told.push('rolled back'));
      await insert(tx, 'slow');
    });
    const outcome = expect(work).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false });
    let pid: unknown;
    await until(async () => (pid = await pidOf()) !== undefined);
    proxy.cut();
    await outcome;
    expect(told).toEqual(['run']);
    // It would hold its locks for as long as it sleeps.
    await rowsOf(direct, `SELECT pg_terminate_backend(${String(pid)}, 10000)`);
  });

  test('no more than a few wait for their answers, however many there are', async () => {
    const text = 'x'.repeat(10_000);
    let written = 0;
    const { passed, open } = gate();
    proxy.freeze();
    const work = storage.transaction(
      async (tx) => {
        open();
        for (let n = 0; n < 100; n++) {
          await insert(tx, text);
          written++;
        }
      },
      { timeout: 500 },
    );
    const outcome = expect(work).rejects.toMatchObject({ code: 'TIMEOUT' });
    await passed;
    await outcome;
    expect(written).toBeGreaterThan(1);
    expect(written).toBeLessThan(10);
  });

  test.each([
    ['the function ends at once', 0],
    ['the function reads first', 1],
  ])('a BEGIN that fails: %s, and nothing is done outside of a transaction', async (_when, reads) => {
    let altered = 0;
    proxy.alter((sent) => {
      const place = sent.indexOf('BEGIN ISOLATION');
      if (place < 0) return;
      altered++;
      sent.write('WRONG', place);
    });
    const told: string[] = [];
    const work = storage.transaction(
      async (tx) => {
        tx.onCommit(() => void told.push('committed'));
        tx.onRollback(() => void told.push('rolled back'));
        for (let n = 0; n < 3; n++) await insert(tx, 'outside');
        for (let n = 0; n < reads; n++) await tx.collection(Notes).count({});
        await insert(tx, 'outside');
      },
      { retries: 0 },
    );
    await expect(work).rejects.toMatchObject({ details: { sqlstate: '42601' } });
    expect(altered).toBe(1);
    expect(told).toEqual(['rolled back']);
    expect(await texts('outside')).toBe(0);
  });

  test.each<[string, string, (signal: AbortSignal) => { timeout?: number; signal?: AbortSignal }]>([
    ['its time', 'TIMEOUT', () => ({ timeout: 500 })],
    ['its signal', 'ABORTED', (signal) => ({ signal })],
  ])(
    'one that waits for a lock with the COMMIT behind it is ended by %s: it is rolled back',
    async (_by, code, bounds) => {
      const { passed: locked, open: tellLocked } = gate();
      const { passed: over, open: unlock } = gate();
      const holder = direct.transaction({ context: context() }, async (session) => {
        await direct.script('LOCK TABLE quartermaster.ahead_notes IN EXCLUSIVE MODE', context({ session }));
        tellLocked();
        await over;
      });
      await locked;
      const told: string[] = [];
      const controller = new AbortController();
      const work = storage.transaction(async (tx) => {
        tx.onCommit(() => void told.push('committed'));
        tx.onRollback(() => void told.push('rolled back'));
        await insert(tx, 'behind a lock');
      }, bounds(controller.signal));
      const outcome = expect(work).rejects.toMatchObject({ code });
      await until(async () => (await pidOf()) !== undefined);
      controller.abort();
      await outcome;
      expect(told).toEqual(['rolled back']);
      unlock();
      await holder;
      expect(await texts('behind a lock')).toBe(0);
      await storage.transaction((tx) => insert(tx, `after ${code}`));
      expect(await texts(`after ${code}`)).toBe(1);
    },
  );

  test('a statement that the server has forgotten runs the function again, on another connection', async () => {
    await storage.transaction((tx) => insert(tx, 'known'));
    const host = storage.sql<pg.Pool>();
    await host.query('DEALLOCATE ALL');
    let runs = 0;
    await storage.transaction(async (tx) => {
      runs++;
      await insert(tx, 'forgotten');
    });
    expect(runs).toBe(2);
    expect(await texts('forgotten')).toBe(1);
  });

  test('a violation that another call has met is not told of their collection', async () => {
    const notes = storage.collection(Notes);
    await notes.insert({ text: 'first', email: 'a@b' });
    const told: unknown[] = [];
    const tell = ({ code, details }: StorageError): unknown =>
      told.push([code, details['constraint'], details['collection']]);
    const work = storage.transaction(async (tx) => {
      const mine = tx.collection(Notes);
      const calls = [
        mine.insert({ text: 'second', email: 'a@b' }).catch(tell),
        mine.count({}).catch(tell),
        tx.tasks.create({ title: 'pack' }).catch(tell),
      ];
      await Promise.all(calls);
      await tx.tasks.create({ title: 'send' }).catch(tell);
      await mine.count({}).catch(tell);
    });
    await work.catch(tell);
    const violation = ['ALREADY_EXISTS', 'email', 'ahead_notes'];
    expect(told).toEqual(Array.from({ length: 6 }, () => violation));
  });

  test('an id that is there against all odds fails the whole, and replaces nothing', async () => {
    const { id } = await storage.collection(Notes).insert({ text: 'first' });
    const { pool, backend } = await fixture.backend([Notes.schema]);
    const tenant = (await rowsOf(direct, `SELECT tenant FROM quartermaster.ahead_notes WHERE id = '${id}'`))[0]![
      'tenant'
    ];
    const write = { collection: Notes.schema, kind: 'insert', isNew: true, id, value: { text: 'second' } } as const;
    const work = pool.transaction({ context: context() }, (session) =>
      backend.write({ tenant: String(tenant) }, [write], context({ session })),
    );
    await expect(work).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect((await storage.collection(Notes).get(id)).value).toEqual({ text: 'first' });
  });
});
