import { statSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { cursorRanges, parseSort } from '../src/filter/cursor.js';
import { ALL } from '../src/filter/syntax.js';
import type { RecordSchema, Stored, Write } from '../src/backends/backend.js';
import { countStatement, findStatement, sweepStatement } from '../src/backends/sql/find.js';
import { tablePlan } from '../src/backends/sql/table-plan.js';
import { sqlite } from '../src/backends/sql/sqlite/dialect.js';
import type { SqlPool } from '../src/pools/pool.js';
import { sql } from '../src/backends/sql/index.js';
import { A, at, contextAt, ctx, domain, filterOf, insertUser, things, users } from './support/sql/fixture.js';
import { context, Folder, openSqlite, type OpenSqlite } from './support/sqlite/fixture.js';

let open: OpenSqlite;
beforeAll(async () => {
  open = await openSqlite('sqlite::memory:');
  await open.backend.ensure([things, users], ctx);
});
afterEach(() => open.pool.script('DELETE FROM quartermaster_things; DELETE FROM quartermaster_users', ctx));
afterAll(() => open.close());

const put = (id: string, value: Write extends { value: infer V } ? V : object): Write => ({
  kind: 'put',
  collection: things,
  id,
  value: value as Record<string, never>,
});

describe('the planner', () => {
  const planOf = async (text: string, values: Parameters<SqlPool['query']>[1]): Promise<string> => {
    const { rows } = await open.pool.query(`EXPLAIN QUERY PLAN ${text}`, values, ctx);
    return rows.map((row) => String(row['detail'])).join('\n');
  };

  test('an order that names what the filter pins is read from the index', async () => {
    for (const [filter, sort] of [
      [{ n: 5 }, { n: 'desc', b: 'asc' }],
      [
        { n: { $in: [5] }, o: 1 },
        { n: 'desc', b: 'asc' },
      ],
      [{ n: null }, { n: 'desc', b: 'asc' }],
    ] as const) {
      const request = { collection: things, filter: filterOf(filter), sort: parseSort(sort, domain), limit: 5 };
      const { text, parameters } = findStatement(sqlite, A, request, undefined, at(1));
      expect(await planOf(text, parameters.values)).not.toContain('TEMP B-TREE');
    }
  });

  test.each([
    [{ s: 'asc' }, ['s3', 'x3']],
    [{ s: 'desc' }, ['s3', 'x3']],
    [{ s: 'asc' }, [null, 'x3']],
    [{ s: 'desc' }, [null, 'x3']],
    [{ n: 'desc', b: 'asc' }, [3, null, 'x3']],
    [{ n: 'asc', b: 'desc' }, [3, true, 'x3']],
    [{ createdAt: 'desc' }, ['2026-01-01T00:00:00.000Z', 'x3']],
    [{}, ['x3']],
  ] as const)('reads %j from its index, in order, from the beginning and after %j', async (order, values) => {
    const sort = parseSort(order, domain);
    for (const range of [undefined, ...cursorRanges(sort, values)]) {
      const { text, parameters } = findStatement(
        sqlite,
        A,
        { collection: things, filter: ALL, sort, limit: 5 },
        range,
        at(1),
      );
      const plan = await planOf(text, parameters.values);
      expect(plan).toMatch(/^SEARCH t USING INDEX (quartermaster_things_i_\w+|sqlite_autoindex_\w+) \(tenant=\?/);
      expect(plan).not.toMatch(/TEMP B-TREE|SCAN/);
      const pinned = range?.equal.length ?? 0;
      // Every pinned key is a part of the search, and so is the end of the range.
      if (range !== undefined) expect(plan.match(/<expr>|created_at|\bid/g)).toHaveLength(pinned + 1);
    }
  });

  test('a prefix is a range of the index, which the range of a page closes further', async () => {
    const sort = parseSort({ s: 'asc' }, domain);
    const filter = filterOf({ s: { $startsWith: 'ab' } });
    const request = { collection: things, filter, sort, limit: 5 };
    const counted = countStatement(sqlite, A, { collection: things, filter }, at(1));
    const first = findStatement(sqlite, A, request, undefined, at(1));
    const [, next] = cursorRanges(sort, ['abc', 'x3']);
    const page = findStatement(sqlite, A, request, next, at(1));
    for (const { text, parameters } of [counted, first, page])
      expect(await planOf(text, parameters.values)).toMatch(
        /^SEARCH t USING INDEX quartermaster_things_i_\w+ \(tenant=\? AND <expr>>\? AND <expr><\?\)$/,
      );
    const opcodes = async ({ text, parameters }: typeof page): Promise<unknown[]> =>
      (await open.pool.query(`EXPLAIN ${text}`, parameters.values, ctx)).rows.map((row) => row['opcode']);
    expect(await opcodes(first)).toContain('SeekGE');
    // Behind the cursor, not at the prefix.
    expect(await opcodes(page)).toContain('SeekGT');
    const byId = countStatement(
      sqlite,
      A,
      { collection: things, filter: filterOf({ id: { $startsWith: 'x' } }) },
      at(1),
    );
    expect(await planOf(byId.text, byId.parameters.values)).toMatch(
      /sqlite_autoindex_\w+ \(tenant=\? AND id>\? AND id<\?\)$/,
    );
  });

  test.each([
    [{ n: 5 }, {}],
    [{ n: 5 }, { id: 'desc' }],
    [{ n: 5 }, { s: 'asc' }],
    [{ n: 5, b: true, u: 1 }, { createdAt: 'desc' }],
    [{ n: { $in: [5, 6] } }, {}],
  ] as const)('%j in the order of %j is read by the index of the filter while few match', async (filter, order) => {
    const sort = parseSort(order, domain);
    for (const range of [
      undefined,
      ...cursorRanges(
        sort,
        sort.map(({ type }) => (type === 'string' ? 'x3' : '2026-01-01T00:00:00.000Z')),
      ),
    ]) {
      const request = { collection: things, filter: filterOf(filter), sort, limit: 5 };
      const { text, parameters } = findStatement(sqlite, A, request, range, at(1));
      const [few, many] = (await planOf(text, parameters.values)).split('UNION ALL');
      expect(few).toMatch(/SEARCH t USING COVERING INDEX quartermaster_things_i_\w+ \(tenant=\? AND <expr>=\?/);
      expect(few).toContain('SEARCH t USING INTEGER PRIMARY KEY (rowid=?)');
      expect(many).not.toContain('TEMP B-TREE');
    }
  });

  test.each([
    [{}, {}],
    [{ s: { $gt: 'a' } }, {}],
    [{ s: null }, {}],
    [{ s: 'a' }, {}],
    [{ s: 'a' }, { s: 'desc' }],
    [{ s: 'a' }, { id: 'desc' }],
    [{ u: 5 }, { s: 'asc' }],
    [{ n: 5 }, { b: 'asc' }],
    [{ n: 5 }, { b: 'desc' }],
    [{ n: 5 }, { o: 'asc' }],
    [{ n: 5, id: 'x' }, { s: 'asc' }],
  ] as const)('%j in the order of %j leaves nothing to choose', (filter, order) => {
    const declared = new Map([...domain.declared, ['o', 'string' as const]]);
    const request = {
      collection: things,
      filter: filterOf(filter),
      sort: parseSort(order, { ...domain, declared }),
      limit: 5,
    };
    expect(findStatement(sqlite, A, request, undefined, at(1)).text).not.toContain('UNION');
  });

  test('answers declared fields from their index, and a sweep from that of what expires', async () => {
    const long = Array.from({ length: 50 }, (_, i) => `s${i}`);
    for (const filter of [{ s: 'a' }, { s: { $in: ['a', 'b'] } }, { s: { $in: long } }, { n: { $gt: 5 } }]) {
      const request = { collection: things, filter: filterOf(filter) };
      const { text, parameters } = countStatement(sqlite, A, request, at(1));
      expect(await planOf(text, parameters.values)).toMatch(
        /USING INDEX quartermaster_things_i_\w+ \(tenant=\? AND <expr>/,
      );
    }
    const { text, parameters } = sweepStatement(sqlite, 'things', at(1), 10);
    expect(await planOf(text, parameters.values)).toMatch(/quartermaster_things_e_\w+ \(expires_at<\?\)/);
  });
});

test('a page is the same whether few match or many', async () => {
  const sort = parseSort({ createdAt: 'desc' }, domain);
  const filter = filterOf({ n: { $in: [1, 2] }, b: true });
  const ids: string[] = [];
  const add = async (from: number, to: number): Promise<void> => {
    const writes = Array.from({ length: to - from }, (_, i): Write => {
      const id = `x${String(from + i).padStart(5, '0')}`;
      const even = (from + i) % 2 === 0;
      if (even) ids.unshift(id);
      return {
        ...{ kind: 'insert', collection: things, id, createdAt: at(Math.floor((from + i) / 7)) },
        value: { n: 1 + (i % 2), b: even },
      };
    });
    await open.backend.write(A, writes, ctx);
  };
  const walk = async (): Promise<string[]> => {
    const seen: string[] = [];
    for (let after: Stored | undefined; ;) {
      const values = after === undefined ? undefined : [after.createdAt.toISOString(), after.id];
      const ranges = values === undefined ? {} : { ranges: cursorRanges(sort, values) };
      const page = await open.backend.find(A, { collection: things, filter, sort, limit: 90, ...ranges }, ctx);
      seen.push(...page.map(({ id }) => id));
      if (page.length < 90) return seen;
      after = page.at(-1);
    }
  };
  // Up to 900 of them are few for a page of 90.
  for (const [from, to] of [
    [0, 20],
    [20, 1_798],
    [1_798, 1_800],
    [1_800, 1_802],
    [1_802, 3_000],
  ] as const) {
    await add(from, to);
    expect(await walk()).toEqual(ids);
  }
});

describe('a batch', () => {
  test('takes effect by id within a kind, whatever the order it is given in', async () => {
    const user = (id: string, shop: number): Write => ({
      kind: 'put',
      collection: users,
      id,
      value: { email: 'e', shop },
    });
    const [a, b] = [user('a', 1), user('b', 2)];
    await open.backend.write(A, [a, b], ctx);
    const handed = await open.backend.write(A, [user('b', 1), user('a', 9)], ctx);
    expect(handed).toMatchObject([
      { status: 'written', version: 2 },
      { status: 'written', version: 2 },
    ]);
    await expect(open.backend.write(A, [user('b', 3), user('a', 1)], ctx)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    const fresh = await open.backend.write(A, [user('d', 4), user('a', 9), user('c', 5)], ctx);
    expect(fresh.map((result) => 'version' in result && result.version)).toEqual([1, 3, 1]);
  });
});

describe('values', () => {
  test('of the numbers that are hard are found, ordered and paged exactly', async () => {
    const hard = [5e-324, 2.2250738585072014e-308, 1e-17, 0.3112906610273454, 0.31129066102734543, 2 ** 60 + 256, 1e22];
    const numbers = [...hard, 1.7976931348623157e308, -5e-324, -(2 ** 63), 2 ** 53 + 2, 0];
    await open.backend.write(
      A,
      numbers.map((n, i): Write => ({ kind: 'insert', collection: things, id: `n${i}`, value: { n, l: [n], u: n } })),
      ctx,
    );
    for (const n of numbers)
      for (const filter of [
        { n },
        { u: n },
        { l: { $contains: n } },
        { u: { $in: [n, 'x'] } },
        { u: { $gte: n, $lte: n } },
      ])
        expect(await open.backend.count(A, { collection: things, filter: filterOf(filter) }, ctx)).toBe(1);
    const sort = parseSort({ n: 'asc' }, domain);
    const seen: unknown[] = [];
    let after: { n: number; id: string } | undefined;
    for (;;) {
      const request = { collection: things, filter: ALL, sort, limit: 1 };
      const ranges = after === undefined ? {} : { ranges: cursorRanges(sort, [after.n, after.id]) };
      const [record] = await open.backend.find(A, { ...request, ...ranges }, ctx);
      if (record === undefined) break;
      after = { n: record.value['n'] as number, id: record.id };
      seen.push(after.n);
    }
    expect(seen).toEqual([...numbers].sort((a, b) => a - b));
  });

  test('of 256 conditions are not too deep for the parser', async () => {
    await open.backend.write(A, [put('x', { s: 'a' })], ctx);
    const each = Array.from({ length: 250 }, (_, i) => ({ [`k${i}`]: { $exists: false } }));
    expect(await open.backend.count(A, { collection: things, filter: filterOf({ $and: each }) }, ctx)).toBe(1);
    const some = [...each.map((one) => ({ $not: one })), { s: 'a' }];
    expect(await open.backend.count(A, { collection: things, filter: filterOf({ $or: some }) }, ctx)).toBe(1);
    const operands = Array.from({ length: 1_000 }, (_, i) => `s${i}`);
    expect(
      await open.backend.count(
        A,
        { collection: things, filter: filterOf({ s: { $in: [...operands.slice(1), 'a'] } }) },
        ctx,
      ),
    ).toBe(1);
  });

  test('in long lists are as in short ones', async () => {
    const numbers = [5e-324, 0.31129066102734543, 2 ** 60 + 256, -1, 7.5];
    const strings = ['é😀', "q'q", 'tab\t"\\', '[1]', ''];
    await open.backend.write(
      A,
      [...numbers, ...strings, true, null].map((u, i): Write => ({
        kind: 'insert',
        collection: things,
        id: `l${i}`,
        value: { u, ...(typeof u === 'number' ? { n: u } : typeof u === 'string' ? { s: u } : { b: u }) },
        createdAt: at(i),
      })),
      ctx,
    );
    const count = (filter: object) => open.backend.count(A, { collection: things, filter: filterOf(filter) }, ctx);
    const others = Array.from({ length: 900 }, (_, i) => i * 1e6 + 12_345.25);
    const texts = others.map((n) => `t${n}`);
    expect(await count({ n: { $in: [...others, ...numbers] } })).toBe(5);
    expect(await count({ s: { $in: [...texts, ...strings] } })).toBe(5);
    expect(await count({ u: { $in: [...others, ...numbers] } })).toBe(5);
    expect(await count({ u: { $in: [...texts, ...strings.slice(1), 7.5, true, null] } })).toBe(7);
    expect(await count({ u: { $nin: [...texts, ...strings] } })).toBe(7);
    expect(await count({ id: { $in: [...texts, 'l1', 'l2'] } })).toBe(2);
    expect(await count({ createdAt: { $in: [...others.map((_, i) => at(-1 - i)), at(3), at(4)] } })).toBe(2);
    // More operands than a statement may have parameters.
    const many = Array.from({ length: 40 }, (_, i) => ({ n: { $in: others.map((n) => n + i / 64) } }));
    expect(await count({ $or: [...many, { n: { $in: numbers } }] })).toBe(5);
  });

  test('of text that looks like SQL stay data, in paths as well', async () => {
    const value = { "q'k": { "a?b'": "x' OR 1=1 --", $1: '?' }, s: "'; DROP TABLE t; --" };
    await open.backend.write(A, [put("i'd", value)], ctx);
    for (const filter of [{ "q'k.a?b'": "x' OR 1=1 --" }, { s: "'; DROP TABLE t; --" }])
      expect(await open.backend.count(A, { collection: things, filter: filterOf(filter) }, ctx)).toBe(1);
    expect((await open.backend.read(A, [{ collection: things, id: "i'd" }], ctx))[0]?.value).toEqual(value);
  });
});

describe('batches', () => {
  test('may take a unique key that they free, also one that an expired record has', async () => {
    const value = { email: 'e', shop: 1 };
    await open.backend.write(A, [insertUser('1', value)], ctx);
    const moved: Write[] = [insertUser('2', value), { kind: 'delete', collection: users, id: '1' }];
    expect((await open.backend.write(A, moved, ctx)).map((item) => item.status)).toEqual(['written', 'deleted']);
    await open.backend.write(A, [insertUser('3', { email: 'f', shop: 1 }, { expiresAt: at(10) })], ctx);
    const taken = { email: 'f', shop: 1 };
    await expect(
      open.backend.write(A, [insertUser('4', taken), insertUser('5', {})], contextAt(9)),
    ).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { constraint: 'email', collection: 'users' },
    });
    const both = await open.backend.write(A, [insertUser('4', taken), insertUser('5', {})], contextAt(10));
    expect(both.map((item) => item.status)).toEqual(['written', 'written']);
  });

  test('say that a condition failed rather than a constraint, and write nothing', async () => {
    const value = { email: 'e', shop: 1 };
    await open.backend.write(A, [insertUser('1', value), insertUser('2', {})], ctx);
    expect(await open.backend.write(A, [insertUser('2', value)], ctx)).toEqual([{ status: 'exists', version: 1 }]);
    const batch = [insertUser('9', value), insertUser('2', {}), insertUser('8', {})];
    const refused = [{ status: 'skipped' }, { status: 'exists', version: 1 }, { status: 'skipped' }];
    expect(await open.backend.write(A, batch, ctx)).toEqual(refused);
    await open.pool.transaction({ context: ctx }, async (session) => {
      expect(await open.backend.write(A, batch, { ...ctx, session })).toEqual(refused);
      await open.backend.write(A, [insertUser('7', {})], { ...ctx, session });
    });
    expect(await open.backend.count(A, { collection: users, filter: ALL }, ctx)).toBe(3);
  });

  test('that break a constraint fail their session, whatever is done next', async () => {
    const value = { email: 'e', shop: 1 };
    await open.backend.write(A, [insertUser('1', value)], ctx);
    const refused = { code: 'ALREADY_EXISTS', details: { constraint: 'email', collection: 'users' } };
    const work = open.pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...ctx, session };
      await open.backend.write(A, [insertUser('5', {})], inside);
      await expect(open.backend.write(A, [insertUser('6', value)], inside)).rejects.toMatchObject(refused);
      await expect(open.backend.write(A, [insertUser('7', {})], inside)).rejects.toMatchObject(refused);
      await expect(open.backend.count(A, { collection: users, filter: ALL }, inside)).rejects.toMatchObject(refused);
    });
    await expect(work).rejects.toMatchObject(refused);
    expect(await open.backend.count(A, { collection: users, filter: ALL }, ctx)).toBe(1);
  });
});

describe('tables', () => {
  test('gain what a later definition declares, and cost one query when all is there', async () => {
    const early: RecordSchema = { ...things, name: 'early', indexes: [], text: [] };
    const late: RecordSchema = { ...early, indexes: things.indexes, text: ['t'] };
    await Promise.all([open.backend.ensure([early], ctx), open.backend.ensure([early], ctx)]);
    const rows = Array.from({ length: 1_200 }, (_, i): Write => ({
      kind: 'insert',
      collection: early,
      id: `x${i}`,
      value: { t: i % 2 === 0 ? 'Later Words' : 'later' },
    }));
    await open.backend.write(A, rows.slice(0, 1_000), ctx);
    await open.backend.write(A, rows.slice(1_000), ctx);
    await open.backend.ensure([late], ctx);
    const found = (words: string) =>
      open.backend.count(A, { collection: late, filter: filterOf({ $text: words }) }, ctx);
    expect([await found('words'), await found('LATER'), await found('word'), await found('words later')]).toEqual([
      600, 1_200, 0, 600,
    ]);
    const { rows: made } = await open.pool.query("SELECT name FROM sqlite_schema WHERE type = 'index'", [], ctx);
    const names = new Set(made.map((row) => row['name']));
    for (const index of tablePlan(sqlite, late).indexes) expect(names).toContain(index.name);
    const texts: string[] = [];
    const counting = new Proxy(open.pool, {
      get: (target, key) =>
        key === 'query'
          ? (...call: Parameters<SqlPool['query']>) => (texts.push(call[0]), target.query(...call))
          : (Reflect.get(target, key, target) as unknown),
    });
    await sql.create(counting, 'main').ensure([late, things, users], ctx);
    expect(texts).toHaveLength(1);
  });

  test('whose records break a new constraint are a migration fault, and stay as they were', async () => {
    const loose: RecordSchema = { ...users, name: 'loose', unique: [] };
    const value = { email: 'e', shop: 1 };
    await open.backend.ensure([loose], ctx);
    const rows = ['1', '2'].map((id): Write => ({ kind: 'insert', collection: loose, id, value }));
    await open.backend.write(A, rows, ctx);
    const strict: RecordSchema = { ...loose, unique: users.unique };
    await expect(open.backend.ensure([{ ...strict, text: ['t'] }], ctx)).rejects.toMatchObject({
      code: 'MIGRATION',
      details: { constraint: 'email', collection: 'loose' },
    });
    const columns = await open.pool.query("SELECT name FROM pragma_table_info('quartermaster_loose')", [], ctx);
    expect(columns.rows.map((row) => row['name'])).not.toContain('words');
    await open.backend.write(A, [{ kind: 'delete', collection: loose, id: '1' }], ctx);
    await open.backend.ensure([strict], ctx);
  });
});

test('the log of a file does not grow with the writes', async () => {
  const folder = new Folder();
  const file = await openSqlite(`sqlite:${folder.file()}`);
  await file.backend.ensure([things], context());
  const filling = 'x'.repeat(4_000);
  for (let i = 0; i < 4_000; i++) await file.backend.write(A, [put(`p${i % 10}`, { filling, n: i })], context());
  expect(statSync(`${folder.file()}-wal`).size).toBeLessThan(8_000_000);
  await file.close();
  folder.remove();
});
