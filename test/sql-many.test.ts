import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RecordBackend, Stored, Write } from '../src/backends/backend.js';
import { sql } from '../src/backends/sql/index.js';
import { isSerializationFailure } from '../src/errors.js';
import { parseSort } from '../src/filter/cursor.js';
import type { SqlPool } from '../src/pools/pool.js';
import {
  A,
  at,
  contextAt,
  ctx,
  domain,
  filterOf,
  insertUser,
  openBackend,
  things,
  users,
} from './support/sql/fixture.js';
import { context, describeServer, Fixture, gate, until } from './support/postgres/fixture.js';
import { Folder, openSqlite } from './support/sqlite/fixture.js';

const CLAIMERS = 8;
const RECORDS = 1_000;
const due = filterOf({ s: 'due' });
const taken = { set: { s: 'taken' } };

interface Databases {
  /** Of the claimers, in turn: each over a pool of its own where there are several. */
  readonly backends: readonly RecordBackend[];
  /** Makes the tables new. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

async function openServer(): Promise<Databases> {
  const fixture = await Fixture.open();
  const backends = await Promise.all([0, 1].map(async () => sql.create(await fixture.pool({ max: 4 }), 'main')));
  await backends[0]!.ensure([things, users], context());
  return {
    backends,
    clear: () => (backends[0]!.pool as SqlPool).script('TRUNCATE quartermaster.things, quartermaster.users', context()),
    close: () => fixture.close(),
  };
}

async function openEmbedded(): Promise<Databases> {
  const opened = await openBackend();
  return { backends: [opened.backend], clear: () => opened.clear(), close: () => opened.close() };
}

async function openFile(): Promise<Databases> {
  const folder = new Folder();
  const url = `sqlite:${folder.file()}`;
  const open = [await openSqlite(url), await openSqlite(url)];
  await open[0]!.backend.ensure([things, users], context());
  return {
    backends: open.map(({ backend }) => backend),
    clear: () => open[0]!.pool.script('DELETE FROM quartermaster_things; DELETE FROM quartermaster_users', context()),
    async close() {
      await Promise.all(open.map(({ close }) => close()));
      folder.remove();
    },
  };
}

function manyRecords(open: () => Promise<Databases>): void {
  let databases: Databases;
  beforeAll(async () => {
    databases = await open();
  });
  afterAll(() => databases.close());

  const claim = (backend: RecordBackend, limit: number, more: object = {}): Promise<Stored[]> =>
    backend.claim!(
      A,
      { collection: things, filter: due, changes: taken, sort: parseSort({ n: 'asc' }, domain), limit },
      context(more),
    );
  const load = (count: number): Promise<unknown> =>
    databases.backends[0]!.write(
      A,
      Array.from({ length: count }, (_, i): Write => ({
        kind: 'insert',
        collection: things,
        id: `r${i}`,
        value: { s: 'due', n: (i * 7) % count },
      })),
      context(),
    );

  test('loads that meet are made again: none fails, and every record is there once', async () => {
    await databases.clear();
    const { backends } = databases;
    if (backends.some(({ bulkLoad }) => bulkLoad === undefined)) return;
    const inserts = (from: number, step: number): (Write & { kind: 'insert' })[] =>
      Array.from({ length: 400 }, (_, i) => {
        const n = from + step * i;
        return {
          collection: users,
          kind: 'insert',
          id: `u${String(n).padStart(4, '0')}`,
          value: { email: `${n % 7} ${9_999 - n}`, shop: 1 },
        };
      });
    // Each in the order of its ids; the unique values of the two go the other way.
    await Promise.all(
      [inserts(0, 2), inserts(1, 2), inserts(1_000, 2), inserts(1_001, 2)].map((writes, i) =>
        backends[i % backends.length]!.bulkLoad!(A, writes, context()),
      ),
    );
    expect(await backends[0]!.count(A, { collection: users, filter: { op: 'and', nodes: [] } }, context())).toBe(1_600);
  });

  test('eight claimers take a thousand records once each', async () => {
    await databases.clear();
    await load(RECORDS);
    const claims = await Promise.all(
      Array.from({ length: CLAIMERS }, async (_, i) => {
        const backend = databases.backends[i % databases.backends.length]!;
        const mine: Stored[] = [];
        for (;;) {
          const got = await claim(backend, 1 + (i % 5));
          mine.push(...got);
          // Nothing for it may be what others are taking: it asks again while anything is due.
          if (got.length === 0 && (await backend.count(A, { collection: things, filter: due }, context())) === 0)
            return mine;
        }
      }),
    );
    const all = claims.flat();
    expect(all).toHaveLength(RECORDS);
    expect(new Set(all.map(({ id }) => id)).size).toBe(RECORDS);
    expect(all.every(({ version, value }) => version === 2 && value['s'] === 'taken')).toBe(true);
  });

  test('claims in transactions take each record once, and give it back when they roll back', async () => {
    await databases.clear();
    await load(60);
    const claimed: string[] = [];
    const work = async (backend: RecordBackend): Promise<void> => {
      for (let round = 0; ; round++) {
        try {
          const got = await backend.pool.transaction({ context: context() }, async (session) => {
            const records = await claim(backend, 3, { session });
            if (round === 2) throw new RangeError('gives them back');
            return records;
          });
          claimed.push(...got.map(({ id }) => id));
          if (got.length === 0) return;
        } catch (error) {
          if (!(error instanceof RangeError) && !isSerializationFailure(error)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: 4 }, (_, i) => work(databases.backends[i % databases.backends.length]!)));
    for (const { id } of await claim(databases.backends[0]!, 60)) claimed.push(id);
    expect(claimed).toHaveLength(60);
    expect(new Set(claimed).size).toBe(60);
  });

  test('a session changes, claims and sums up what it sees, and undoes it', async () => {
    await databases.clear();
    await load(40);
    const [backend] = databases.backends;
    const sum = { collection: things, filter: due, by: [], numbers: [numberField], limit: 2 };
    const undone = backend!.pool.transaction({ context: context() }, async (session) => {
      const inside = context({ session });
      const request = { collection: things, filter: due, changes: { increment: { n: 1 } } };
      expect(await backend!.updateMany!(A, request, inside)).toBe(40);
      expect(await backend!.aggregate!(A, sum, inside)).toEqual([
        { key: [], count: 40, numbers: [{ count: 40, sum: 820, min: 1, max: 40 }] },
      ]);
      expect(await claim(backend!, 4, { session })).toHaveLength(4);
      expect(await backend!.count(A, { collection: things, filter: due }, inside)).toBe(36);
      throw new RangeError('undone');
    });
    await expect(undone).rejects.toThrow(RangeError);
    expect(await backend!.aggregate!(A, sum, context())).toMatchObject([{ numbers: [{ sum: 780 }] }]);
  });

  test('what is too large is left alone', async () => {
    await databases.clear();
    const [backend] = databases.backends;
    const insert = (id: string, l: string): Write => ({
      kind: 'insert',
      collection: things,
      id,
      value: { s: 'due', l: [l] },
    });
    await backend!.write(A, [insert('big', 'x'.repeat(1_100_000)), insert('small', 'x')], context());
    const request = { collection: things, filter: due, changes: { push: { l: 'y'.repeat(1_000_000) } } };
    expect(await backend!.updateMany!(A, request, context())).toBe(1);
    const keys = ['big', 'small'].map((id) => ({ collection: things, id }));
    const records = await backend!.read(A, keys, context());
    expect(records.map((record) => record?.version)).toEqual([1, 2]);
  });

  test('a unique constraint is named, is freed by expiry, and ends a session', async () => {
    await databases.clear();
    const [backend] = databases.backends;
    const value = (shop: number) => ({ email: 'e', shop });
    await backend!.write(A, [insertUser('1', value(1)), insertUser('2', value(2), { expiresAt: at(10) })], ctx);
    const request = { collection: users, filter: filterOf({ id: '1' }), changes: { set: { shop: 2 } } };
    const take = { ...request, sort: parseSort({}, domain), limit: 1 };
    const refused = { code: 'ALREADY_EXISTS', details: { constraint: 'email', collection: 'users' } };
    await expect(backend!.updateMany!(A, request, contextAt(9))).rejects.toMatchObject(refused);
    await expect(backend!.claim!(A, take, contextAt(9))).rejects.toMatchObject(refused);
    const failed = backend!.pool.transaction({ context: context() }, async (session) => {
      const inside = { ...contextAt(9), session };
      await expect(backend!.updateMany!(A, request, inside)).rejects.toMatchObject(refused);
      await expect(backend!.claim!(A, take, inside)).rejects.toMatchObject(refused);
    });
    await expect(failed).rejects.toMatchObject(refused);
    expect(await backend!.updateMany!(A, request, contextAt(10))).toBe(1);
    await backend!.write(A, [insertUser('3', value(3), { expiresAt: at(20) })], contextAt(11));
    const [got] = await backend!.pool.transaction({ context: context() }, (session) =>
      backend!.claim!('all', { ...take, changes: { set: { shop: 3 } } }, { ...contextAt(20), session }),
    );
    expect(got).toMatchObject({ tenant: 'a', id: '1', version: 3, value: value(3) });
  });
}

const numberField = { source: 'value', path: ['n'], type: 'number' } as const;

describe('many records on PGlite', () => manyRecords(openEmbedded));
describe('many records on SQLite', () => manyRecords(openFile));
describeServer('many records on PostgreSQL', () => manyRecords(openServer));

describe('SQLite', () => {
  test('lets other work in while it changes many records, and meets each once', async () => {
    const { backend, close } = await openSqlite('sqlite::memory:');
    await backend.ensure([things], ctx);
    const count = 10_050;
    for (let from = 0; from < count; from += 1_000)
      await backend.write(
        A,
        Array.from({ length: Math.min(1_000, count - from) }, (_, i): Write => ({
          kind: 'insert',
          collection: things,
          id: `r${from + i}`,
          value: { s: 'due', n: 1 },
        })),
        ctx,
      );
    let turns = 0;
    const ticking = setInterval(() => turns++, 1);
    const request = { collection: things, filter: due, changes: { increment: { n: 1 } } };
    expect(await backend.updateMany!(A, request, context())).toBe(count);
    clearInterval(ticking);
    expect(turns).toBeGreaterThan(5);
    expect(await backend.count(A, { collection: things, filter: filterOf({ n: 2 }) }, context())).toBe(count);
    expect(await backend.updateMany!('all', request, context())).toBe(count);
    expect(await backend.count(A, { collection: things, filter: filterOf({ n: 3 }) }, context())).toBe(count);
    await close();
  });
});

describeServer('PostgreSQL', () => {
  let fixture: Fixture;
  let pool: SqlPool;
  let backend: RecordBackend;
  beforeAll(async () => {
    fixture = await Fixture.open();
    ({ pool, backend } = await fixture.backend([things]));
  });
  afterAll(() => fixture.close());

  const insert = (id: string, value: Record<string, string | number>): Write => ({
    kind: 'put',
    collection: things,
    id,
    value,
  });
  const waits = async (): Promise<boolean> => {
    const text =
      "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'";
    return (await pool.query(text, [], context())).rows.length > 0;
  };

  test('what stopped matching while its row was locked is not changed, what matches still is', async () => {
    await backend.write(A, [insert('a', { s: 'due', n: 1 }), insert('b', { s: 'due', n: 1 })], context());
    const { passed, open } = gate();
    const { passed: locked, open: hasLocked } = gate();
    const holder = pool.transaction({ context: context() }, async (session) => {
      const inside = context({ session });
      const patch = (id: string, set: Record<string, string | number>): Write => ({
        kind: 'patch',
        collection: things,
        id,
        changes: { set },
      });
      await backend.write(A, [patch('a', { s: 'done' }), patch('b', { n: 5 })], inside);
      hasLocked();
      await passed;
    });
    await locked;
    const request = { collection: things, filter: due, changes: { increment: { n: 1 } } };
    const free = await backend.claim!(A, { ...request, sort: parseSort({}, domain), limit: 2 }, context());
    expect(free).toEqual([]);
    const updated = backend.updateMany!(A, request, context());
    await until(waits);
    open();
    await holder;
    expect(await updated).toBe(1);
    const records = await backend.read(
      A,
      ['a', 'b'].map((id) => ({ collection: things, id })),
      context(),
    );
    expect(records.map((record) => [record?.value, record?.version])).toEqual([
      [{ s: 'done', n: 1 }, 2],
      [{ s: 'due', n: 6 }, 3],
    ]);
  });

  test('updates that meet from opposite ends wait for each other and do not deadlock', async () => {
    await pool.script('TRUNCATE quartermaster.things', context());
    for (let from = 0; from < 3_000; from += 1_000)
      await backend.write(
        A,
        Array.from({ length: 1_000 }, (_, i) =>
          insert(`r${String(from + i).padStart(4, '0')}`, { s: 'due', n: from + i, m: 0 }),
        ),
        context(),
      );
    // Each filter's rows come as its own index has them: those of the one in the opposite order of the other's.
    const database = new URL(fixture.url).pathname.slice(1);
    const plans = ['seqscan', 'bitmapscan', 'sort'].map(
      (plan) => `ALTER DATABASE "${database}" SET enable_${plan} = off`,
    );
    await pool.script(plans.join('; '), context());
    const indexed = sql.create(await fixture.pool({ pool: { max: 12 } }), 'main');
    const filters = [due, filterOf({ n: { $gte: 0 } })];
    const changes = { increment: { m: 1 } };
    const updates = Array.from({ length: 12 }, (_, i) =>
      indexed.updateMany!(A, { collection: things, filter: filters[i % 2]!, changes }, context()),
    );
    expect(await Promise.all(updates)).toEqual(updates.map(() => 3_000));
    expect(await backend.count(A, { collection: things, filter: filterOf({ m: 12 }) }, context())).toBe(3_000);
  });
});
