import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { StorageError } from '../src/errors.js';
import type { Session } from '../src/component.js';
import { LocalSession } from '../src/pools/local-session.js';
import type { SqliteDialectPool, SqlValue } from '../src/pools/pool.js';
import { Database } from '../src/pools/sqlite/database.js';
import { loadEngine } from '../src/pools/sqlite/engines.js';
import { sqlite } from '../src/pools/sqlite/index.js';
import { Statements } from '../src/pools/sqlite/statements.js';
import { systemClock as clock } from '../src/clock.js';
import { context, openContext } from './support/sqlite/fixture.js';

let pool: SqliteDialectPool;
beforeAll(async () => {
  pool = sqlite.create('sqlite::memory:', {}, { clock, name: 'main' });
  await pool.open(openContext());
  await pool.script('CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT)', context());
});
afterEach(async () => {
  expect(pool.figures()).toEqual({ size: 1, idle: 1, waiting: 0, max: 1 });
  await pool.query('DELETE FROM item', [], context());
});
afterAll(() => pool.close(clock.monotonic() + 1_000));

const query = async (text: string, ...parameters: SqlValue[]) => (await pool.query(text, parameters, context())).rows;
const insert = (id: number, session?: Session) =>
  pool.query('INSERT INTO item (id) VALUES (?)', [id], context({ session }));
const ids = async () => (await query('SELECT id FROM item ORDER BY id')).map((row) => row['id']);

test('a further handle that cannot be opened is told as an error of the library', async () => {
  const open = await loadEngine('auto', 'main');
  const database = new Database(open(':memory:'), 'main', () => open('/no/such/directory/a.db'));
  for (const handle of [() => database.moment(), () => database.hostClient()]) {
    // Engines tell of it each in their own way, so that the subclass is the engine's.
    expect(handle).toThrow(StorageError);
    expect(handle).toThrow(expect.objectContaining({ component: 'main' }));
  }
  database.close();
});

describe('statements', () => {
  test('run before the call returns when the connection is free', async () => {
    let seen: unknown;
    const inserted = insert(1);
    const looked = pool.step('read', context(), (run) => {
      seen = run('SELECT count(*) AS n FROM item', []).rows[0]?.['n'];
    });
    expect(seen).toBe(1);
    await Promise.all([inserted, looked]);
  });

  test('wait for a transaction, in the order they came', async () => {
    const order: number[] = [];
    let open!: () => void;
    const passed = new Promise<void>((resolve) => (open = resolve));
    let begun!: () => void;
    const beginning = new Promise<void>((resolve) => (begun = resolve));
    const undone = pool.transaction({ context: context() }, async (session) => {
      await insert(9, session);
      begun();
      await passed;
      throw new Error('no');
    });
    await beginning;
    const waiting = [1, 2, 3].map((id) => insert(id).then(() => order.push(id)));
    expect(pool.figures()).toMatchObject({ idle: 0, waiting: 3 });
    expect(await pool.check(AbortSignal.abort())).toMatchObject({ status: 'healthy', details: { waiting: 3 } });
    open();
    await expect(undone).rejects.toThrow('no');
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect(await ids()).toEqual([1, 2, 3]);
  });

  test('take what SQLite has and refuse the rest', async () => {
    const bytes = Uint8Array.of(0, 255, 7);
    const [row] = await query('SELECT ? AS a, ? AS b, ? AS c, ? AS d', null, 1.5, 'é😀', bytes);
    expect({ ...row, d: [...(row!['d'] as Uint8Array)] }).toEqual({ a: null, b: 1.5, c: 'é😀', d: [0, 255, 7] });
    for (const value of [true, new Date(), ['a'], undefined as unknown as null])
      await expect(pool.query('SELECT ?, ? AS a', [1, value], context())).rejects.toMatchObject({
        code: 'VALIDATION',
        message: expect.stringMatching(/^parameters\[1\]: expected a number, a string, bytes or null, got /),
      });
  });

  test('count the rows they change, with RETURNING and without', async () => {
    const affected = async (text: string) => (await pool.query(text, [], context())).affected;
    expect(await affected("INSERT INTO item (body) VALUES ('a'), ('b'), ('returning')")).toBe(3);
    expect(await affected("SELECT * FROM item WHERE body = 'returning'")).toBe(0);
    expect(await affected("UPDATE item SET body = 'c' WHERE body <> 'b' RETURNING id")).toBe(2);
    expect(await affected('DELETE FROM item')).toBe(3);
  });

  test('of ever new texts do not pile up, and those in use stay', async () => {
    const database = (await loadEngine('auto', 'main'))(':memory:');
    const prepared: string[] = [];
    const counting = new Proxy(database, {
      get: (target, key) =>
        key === 'prepare'
          ? (text: string) => (prepared.push(text), target.prepare(text))
          : (Reflect.get(target, key, target) as unknown),
    });
    const statements = new Statements(counting);
    for (let i = 0; i < 2_000; i++) {
      expect(statements.get(`SELECT ${i} AS n`).all([])[0]?.['n']).toBe(i);
      if (i % 100 === 0) expect(statements.get("SELECT 'used' AS n").all([])[0]?.['n']).toBe('used');
    }
    expect(prepared).toHaveLength(2_001);
    statements.get('SELECT 1999 AS n');
    expect(prepared).toHaveLength(2_001);
    statements.get('SELECT 1 AS n');
    expect(prepared).toHaveLength(2_002);
    database.close();
  });

  test('do not begin or end transactions', async () => {
    const refused = { code: 'VALIDATION' };
    await expect(pool.script('BEGIN; INSERT INTO item (id) VALUES (1)', context())).rejects.toMatchObject(refused);
    const work = pool.transaction({ context: context() }, async (session) => {
      await insert(5, session);
      await pool.script('ROLLBACK', context({ session })).catch(() => undefined);
      await insert(6, session).catch(() => undefined);
    });
    await expect(work).rejects.toMatchObject(refused);
    await insert(2);
    expect(await ids()).toEqual([2]);
  });
});

describe('a step', () => {
  test('is kept whole or not at all, alone and in a session', async () => {
    const fault = new Error('mine');
    const fail = (session?: Session) =>
      pool.step('write', context({ session }), (run) => {
        run('INSERT INTO item (id) VALUES (?)', [7]);
        throw fault;
      });
    await expect(fail()).rejects.toBe(fault);
    await pool.transaction({ context: context() }, async (session) => {
      await insert(1, session);
      await expect(fail(session)).rejects.toBe(fault);
      await pool.step('write', context({ session }), (run) => run('INSERT INTO item (id) VALUES (?)', [2]));
    });
    expect(await ids()).toEqual([1, 2]);
  });

  test('that meets a constraint leaves its session usable; a statement does not', async () => {
    await insert(1);
    const refused = { code: 'ALREADY_EXISTS', details: { constraint: 'item.id' } };
    await pool.transaction({ context: context() }, async (session) => {
      const step = pool.step('write', context({ session }), (run) => run('INSERT INTO item (id) VALUES (1)', []));
      await expect(step).rejects.toMatchObject(refused);
      await insert(2, session);
    });
    const work = pool.transaction({ context: context() }, async (session) => {
      await insert(3, session);
      await insert(1, session).catch(() => undefined);
      await insert(4, session).catch(() => undefined);
    });
    await expect(work).rejects.toMatchObject(refused);
    expect(await ids()).toEqual([1, 2]);
  });
});

describe('a session', () => {
  test('is refused after its end, and by another pool', async () => {
    let kept: Session | undefined;
    await pool.transaction({ context: context() }, async (session) => {
      kept = session;
    });
    await expect(insert(1, kept)).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(insert(1, new LocalSession(pool, context(), clock))).rejects.toMatchObject({ code: 'VALIDATION' });
  });

  test('ends at its deadline while its function hangs, and frees the connection', async () => {
    const hanging = pool.transaction({ context: context({ deadline: clock.monotonic() + 30 }) }, async (session) => {
      await insert(1, session);
      await new Promise<never>(() => undefined);
    });
    await expect(hanging).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(await ids()).toEqual([]);
  });

  test('is cut by the closing of its pool, which ends all the same', async () => {
    const other = sqlite.create('sqlite::memory:', {}, { clock, name: 'other' });
    await other.open(openContext());
    let begun!: () => void;
    const beginning = new Promise<void>((resolve) => (begun = resolve));
    const hanging = other.transaction({ context: context() }, async () => {
      begun();
      await new Promise<never>(() => undefined);
    });
    const cut = expect(hanging).rejects.toMatchObject({ code: 'CLOSED' });
    await beginning;
    await other.close(clock.monotonic() + 20);
    await cut;
    expect(await other.check(AbortSignal.abort())).toMatchObject({ status: 'unhealthy' });
  });
});
