import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Pool, SqlPool } from '../src/pools/pool.js';
import { isStorageError } from '../src/errors.js';
import { cursorRanges, parseSort } from '../src/filter/cursor.js';
import { ALL } from '../src/filter/syntax.js';
import type { RecordBackend, RecordSchema, Write } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import { countStatement, findStatement } from '../src/backends/sql/find.js';
import { sql } from '../src/backends/sql/index.js';
import { postgres } from '../src/backends/sql/postgres/dialect.js';
import { rangesStatement } from '../src/backends/sql/postgres/ranges.js';
import { tablePlan } from '../src/backends/sql/table-plan.js';
import { collectionOn } from '../src/testing/record-target.js';
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
  type Opened,
} from './support/sql/fixture.js';

let opened: Opened;
let backend: RecordBackend;
let pool: SqlPool;

beforeAll(async () => {
  opened = await openBackend();
  ({ backend, pool } = opened);
});

afterAll(() => opened.close());

describe('finds', () => {
  test('use the declared indexes, forwards and backwards', async () => {
    await opened.clear();
    await pool.query(
      `INSERT INTO quartermaster.things SELECT 'a', 'x' || i, 1, $1::timestamptz, $1::timestamptz, 'infinity', jsonb_build_object('s', 's' || i % 50, 'n', i) FROM generate_series(1, 3000) i`,
      [at(0).toISOString()],
      ctx,
    );
    await pool.script('ANALYZE quartermaster.things', ctx);
    for (const direction of ['asc', 'desc'] as const) {
      const sort = parseSort({ s: direction }, domain);
      for (const ranges of [undefined, cursorRanges(sort, ['s3', 'x3'])]) {
        const request = { collection: things, filter: ALL, sort, limit: 5 };
        const { text, parameters } =
          ranges === undefined
            ? findStatement(postgres, A, request, undefined, at(1))
            : rangesStatement(postgres, A, request, ranges, at(1));
        const plan = await pool.query(`EXPLAIN ${text}`, parameters.values, ctx);
        const shown = plan.rows.map((row) => String(row['QUERY PLAN'])).join('\n');
        expect(shown).toMatch(/Index Scan.* using things_i_/);
        expect(shown).not.toMatch(/\bSort Key: .*things|Seq Scan/);
      }
    }
  });
});

test.each(['n', 'loose'])('the planner does not take what most rows lack for rare and sort all: %s', async (field) => {
  await opened.clear();
  await pool.query(
    `INSERT INTO quartermaster.things SELECT 'a', 'x' || i, 1, $1::timestamptz, $1::timestamptz, 'infinity', jsonb_build_object('s', 's' || i) FROM generate_series(1, 3000) i`,
    [at(0).toISOString()],
    ctx,
  );
  await pool.script('ANALYZE quartermaster.things', ctx);
  const filter = filterOf({ [field]: { $exists: false } });
  const request = { collection: things, filter, sort: parseSort({ s: 'asc' }, domain), limit: 5 };
  const { text } = findStatement(postgres, A, request, undefined, at(1));
  await pool.script(`SET plan_cache_mode = force_generic_plan; PREPARE lacking AS ${text}`, ctx);
  const { rows } = await pool.query(`EXPLAIN EXECUTE lacking('a', '${at(1).toISOString()}', 5)`, [], ctx);
  await pool.script('DEALLOCATE lacking; RESET plan_cache_mode', ctx);
  const shown = rows.map((row) => String(row['QUERY PLAN'])).join('\n');
  // A third of half of 3,000: it guesses the expiry, too. Of an IS NULL more it would expect 5.
  const [, expected] = /Index Scan using things_i_\w+ on things t +\(cost=\S+ rows=(\d+)/.exec(shown)!;
  expect(Number(expected)).toBeGreaterThan(100);
});

test('what begins with a text is a range of the index, whatever the values of a statement', async () => {
  await opened.clear();
  await pool.query(
    `INSERT INTO quartermaster.things SELECT 'a', 'x' || i, 1, $1::timestamptz, $1::timestamptz, 'infinity', jsonb_build_object('s', 's' || i) FROM generate_series(1, 3000) i`,
    [at(0).toISOString()],
    ctx,
  );
  await pool.script('ANALYZE quartermaster.things', ctx);
  for (const [filter, condition] of [
    [{ s: { $startsWith: 's2' } }, /Index Cond: .*tenant = .*>= \$3.*< \$4/],
    [{ id: { $startsWith: 'x2' } }, /Index Cond: .*tenant = .*id >= \$3.*id < \$4/],
  ] as const) {
    const { text } = countStatement(postgres, A, { collection: things, filter: filterOf(filter) }, at(1));
    await pool.script(`SET plan_cache_mode = force_generic_plan; PREPARE prefixed AS ${text}`, ctx);
    const { rows } = await pool.query(`EXPLAIN EXECUTE prefixed('a', '${at(1).toISOString()}', 's2', 's3')`, [], ctx);
    await pool.script('DEALLOCATE prefixed; RESET plan_cache_mode', ctx);
    expect(rows.map((row) => String(row['QUERY PLAN'])).join('\n')).toMatch(condition);
  }
});

test('one of a list of one is what is equal', () => {
  expect(filterOf({ s: { $in: ['a', 'a'] } })).toEqual(filterOf({ s: 'a' }));
  expect(filterOf({ s: { $in: [null] } })).toEqual(filterOf({ s: null }));
  expect(filterOf({ s: { $in: ['a', 'b'] } })).not.toEqual(filterOf({ s: 'a' }));
});

describe('patches', () => {
  test('refuse a value beyond the hard limit, and take many keys at once', async () => {
    await opened.clear();
    await backend.write(
      A,
      [{ kind: 'insert', collection: things, id: 'big', value: { l: ['x'.repeat(1_100_000)] } }],
      ctx,
    );
    const big = {
      kind: 'patch',
      collection: things,
      id: 'big',
      changes: { push: { l: 'y'.repeat(1_000_000) } },
    } as const;
    expect(await backend.write(A, [big], ctx)).toEqual([{ status: 'invalid', path: '', reason: 'too-large' }]);
    const set = Object.fromEntries(Array.from({ length: 130 }, (_, i) => [`k${i}`, i]));
    const [wide] = await backend.write(
      A,
      [{ kind: 'patch', collection: things, id: 'w', changes: { set }, orInsert: {} }],
      ctx,
    );
    expect(wide).toMatchObject({ status: 'patched', record: { version: 1, value: {} } });
    const [again] = await backend.write(A, [{ kind: 'patch', collection: things, id: 'w', changes: { set } }], ctx);
    expect(again).toMatchObject({ status: 'patched', record: { version: 2, value: set } });
  });
});

describe('batches', () => {
  test('cross collections, give every result, and write nothing when one item fails', async () => {
    await opened.clear();
    const value = { s: 'x', t: 'wor ds' };
    const first: Write[] = [
      { kind: 'insert', collection: things, id: 'one', value },
      { kind: 'put', collection: things, id: 'two', value, createdAt: at(-5) },
      insertUser('u', { email: 'e' }),
    ];
    expect(await backend.write(A, first, ctx)).toEqual([
      { status: 'written', version: 1, createdAt: at(0) },
      { status: 'written', version: 1, createdAt: at(-5) },
      { status: 'written', version: 1, createdAt: at(0) },
    ]);
    const second: Write[] = [
      { kind: 'replace', collection: things, id: 'one', value: { s: 'y' }, ifVersion: 1 },
      { kind: 'delete', collection: things, id: 'two' },
      { kind: 'insert', collection: users, id: 'u', value: {} },
      { kind: 'patch', collection: users, id: 'nobody', changes: { set: { a: 1 } } },
      { kind: 'put', collection: users, id: 'v', value: {} },
    ];
    const failed = [
      { status: 'skipped' },
      { status: 'skipped' },
      { status: 'exists', version: 1 },
      { status: 'missing' },
      { status: 'skipped' },
    ];
    expect(await backend.write(A, second, contextAt(5))).toEqual(failed);
    await pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...contextAt(5), session };
      await backend.write(A, [{ kind: 'put', collection: things, id: 'kept', value: {} }], inside);
      expect(await backend.write(A, second, inside)).toEqual(failed);
    });
    const keys = ['two', 'one', 'kept'].map((id) => ({ collection: things, id }));
    const read = await backend.read(A, [...keys, { collection: users, id: 'v' }], contextAt(6));
    expect(read.map((record) => record?.version)).toEqual([1, 1, 1, undefined]);
    const third = await backend.write(A, [second[0]!, second[1]!, second[4]!], contextAt(7));
    expect(third).toEqual([
      { status: 'written', version: 2, createdAt: at(0) },
      {
        status: 'deleted',
        record: { tenant: 'a', id: 'two', version: 1, createdAt: at(-5), updatedAt: at(0), value },
      },
      { status: 'written', version: 1, createdAt: at(7) },
    ]);
  });

  test('that fail undo nothing but themselves among the other writes of their session', async () => {
    await opened.clear();
    const put = (id: string): Write => ({ kind: 'put', collection: things, id, value: {} });
    const missing: Write = { kind: 'replace', collection: things, id: 'nobody', value: {} };
    await backend.write(A, [put('old')], ctx);
    await pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...ctx, session };
      const results = await Promise.all([
        backend.write(A, [put('a'), missing], inside),
        backend.deleteMany!(A, { collection: things, filter: filterOf({ id: 'old' }), limit: 9 }, inside).then(
          () => [],
        ),
        backend.write(A, [put('b')], inside),
        backend.write(A, [put('c'), put('d')], inside),
        backend.write(A, [missing, put('e')], inside),
      ]);
      expect(results.map((items) => items.map((item) => item.status))).toEqual([
        ['skipped', 'missing'],
        [],
        ['written'],
        ['written', 'written'],
        ['missing', 'skipped'],
      ]);
    });
    const found = await backend.find(
      A,
      { collection: things, filter: ALL, sort: parseSort({}, domain), limit: 9 },
      ctx,
    );
    expect(found.map((record) => record.id)).toEqual(['b', 'c', 'd']);
  });

  test('may take a unique key that they free', async () => {
    await opened.clear();
    const value = { email: 'e', shop: 1 };
    await backend.write(A, [insertUser('1', value)], ctx);
    const moved: Write[] = [insertUser('2', value), { kind: 'delete', collection: users, id: '1' }];
    expect((await backend.write(A, moved, ctx)).map((item) => item.status)).toEqual(['written', 'deleted']);
  });

  test('of a thousand patches are atomic over their statements', async () => {
    await opened.clear();
    const ids = Array.from({ length: 1_000 }, (_, i) => `p${i}`);
    await backend.write(
      A,
      ids.map((id): Write => ({ kind: 'insert', collection: things, id, value: { n: 1 } })),
      ctx,
    );
    const patches = ids.map((id): Write => ({
      kind: 'patch',
      collection: things,
      id,
      changes: { increment: { n: 1 } },
    }));
    const bad = await backend.write(A, [...patches.slice(1), { ...patches[0]!, id: 'absent' }], ctx);
    expect(bad.at(-1)).toEqual({ status: 'missing' });
    expect(await backend.count(A, { collection: things, filter: filterOf({ n: 1 }) }, ctx)).toBe(1_000);
    const good = await backend.write(A, patches, ctx);
    expect(good.every((result) => result.status === 'patched' && result.record.value['n'] === 2)).toBe(true);
    expect(await backend.count(A, { collection: things, filter: filterOf({ n: 2 }) }, ctx)).toBe(1_000);
  });
});

describe('tables', () => {
  test('gain what a later definition declares, and cost one query when all is there', async () => {
    const early: RecordSchema = { ...things, name: 'early', indexes: [], text: [] };
    const late: RecordSchema = { ...early, indexes: things.indexes, text: ['t'] };
    await Promise.all([backend.ensure([early], ctx), backend.ensure([early], ctx)]);
    await backend.write(A, [{ kind: 'insert', collection: early, id: 'x', value: { t: 'Later Words' } }], ctx);
    await backend.ensure([late], ctx);
    const filter = filterOf({ $text: 'words' });
    expect(await backend.count(A, { collection: late, filter }, ctx)).toBe(1);
    const { rows } = await pool.query(`SELECT indexname FROM pg_indexes WHERE tablename = 'early'`, [], ctx);
    const names = rows.map((row) => row['indexname']);
    expect(names).toEqual(expect.arrayContaining(tablePlan(postgres, late).indexes.map((index) => index.name)));
    expect(names.every((name) => Buffer.byteLength(String(name)) <= 63)).toBe(true);
    const texts: string[] = [];
    const counting = new Proxy(pool, {
      get: (target, key) =>
        key === 'query'
          ? (...call: Parameters<SqlPool['query']>) => (texts.push(call[0]), target.query(...call))
          : (Reflect.get(target, key, target) as unknown),
    });
    await sql.create(counting, 'main').ensure([late, things, users], ctx);
    expect(texts).toHaveLength(1);
  });

  test('are swept of what expired, in pages', async () => {
    await opened.clear();
    const writes = [1, 2, 3, 4].map((n): Write => ({
      kind: 'insert',
      collection: things,
      id: `e${n}`,
      value: {},
      ...(n < 4 ? { expiresAt: at(n) } : {}),
    }));
    await backend.write(A, writes, ctx);
    expect(await backend.sweep(things, at(2), 1, contextAt(9))).toBe(1);
    expect(await backend.sweep(things, at(2), 9, contextAt(9))).toBe(1);
    expect(await backend.count(A, { collection: things, filter: ALL }, ctx)).toBe(2);
    expect(await backend.deleteMany!('all', { collection: things, filter: ALL, limit: 1 }, ctx)).toBe(1);
    expect(await backend.deleteMany!(A, { collection: things, filter: filterOf({ id: 'nope' }), limit: 9 }, ctx)).toBe(
      0,
    );
    expect(await backend.deleteMany!(A, { collection: things, filter: ALL, limit: 9 }, ctx)).toBe(1);
  });

  test('keep times by the millisecond, as a Date has them: of rows between two of them each comes once', async () => {
    const moments = collectionOn(backend, defineCollection<object>({ name: 'moments', id: 'given' }), 'a');
    await moments.count();
    await pool.query(
      `INSERT INTO quartermaster.moments SELECT 'a', 'x' || i, 1, $1::timestamptz + i * interval '300 microseconds', $1::timestamptz, 'infinity', '{}' FROM generate_series(10, 29) i`,
      [at(0).toISOString()],
      ctx,
    );
    for (const direction of ['asc', 'desc'] as const) {
      const sort = { createdAt: direction };
      const ids: string[] = [];
      let after: string | undefined;
      do {
        const { items, next } = await moments.list({ sort, limit: 3, after });
        ids.push(...items.map(({ id }) => id));
        after = next;
      } while (after !== undefined && ids.length <= 20);
      const expected = Array.from({ length: 20 }, (_, i) => `x${i + 10}`);
      expect(ids).toEqual(direction === 'asc' ? expected : expected.reverse());
    }
  });

  test('keep times to the edge of what a Date can hold', async () => {
    await opened.clear();
    for (const [i, text] of [
      '0001-01-01T00:00:00.000Z',
      '0999-05-05T05:05:05.005Z',
      '+012026-01-01T00:00:00.001Z',
    ].entries()) {
      const expiresAt = new Date(i === 2 ? text : '+010000-01-01T00:00:00.000Z');
      const createdAt = new Date(text);
      await backend.write(A, [{ kind: 'put', collection: things, id: `t${i}`, value: {}, createdAt, expiresAt }], ctx);
      const [record] = await backend.read(A, [{ collection: things, id: `t${i}` }], ctx);
      expect(record).toMatchObject({ createdAt, expiresAt });
    }
  });

  test('are not made over a pool that speaks something else', () => {
    const other = new Proxy(pool, {
      get: (target, key) => (key === 'dialect' ? 'another' : (Reflect.get(target, key, target) as unknown)),
    }) as Pool;
    let error: unknown;
    try {
      sql.create(other, 'main');
    } catch (thrown) {
      error = thrown;
    }
    expect(isStorageError(error, 'UNSUPPORTED')).toBe(true);
  });
});
