import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import { isStorageError } from '../src/errors.js';
import { cursorRanges, parseSort, type SortKey } from '../src/filter/cursor.js';
import { compareScalars, evaluate, recordField, recordSubject } from '../src/filter/evaluate.js';
import { normalize } from '../src/filter/normalize.js';
import {
  ALL,
  parseFilter,
  type FieldType,
  type FilterDomain,
  type FilterNode,
  type Scalar,
} from '../src/filter/syntax.js';
import { tokenize } from '../src/filter/text.js';
import type {
  JsonObject,
  JsonValue,
  PatchChanges,
  RecordBackend,
  RecordSchema,
  Stored,
  Write,
  WriteResult,
} from '../src/backends/backend.js';
import { applyPatch, patchTree } from '../src/backends/patch.js';
import { sql } from '../src/backends/sql/index.js';
import { tablePlan } from '../src/backends/sql/schema.js';
import type { Pool, SqlPool } from '../src/pools/pool.js';
import { pglite } from '../src/pools/pglite.js';

const FIELDS: readonly (readonly [string, FieldType])[] = [
  ['s', 'string'],
  ['n', 'number'],
  ['b', 'boolean'],
  ['d', 'date'],
  ['o.s', 'string'],
];
const things: RecordSchema = {
  name: 'things',
  fields: new Map(FIELDS.map(([path, type]) => [path, { type, maxBytes: 512 }])),
  indexes: [
    { name: 'byS', keys: [{ field: 's', direction: 'asc' }], scope: 'tenant' },
    {
      name: 'byNB',
      keys: [
        { field: 'n', direction: 'desc' },
        { field: 'b', direction: 'asc' },
      ],
      scope: 'tenant',
    },
    { name: 'due', keys: [{ field: 'd', direction: 'asc' }], scope: 'all' },
    { name: 'made', keys: [{ field: 'createdAt', direction: 'desc' }], scope: 'tenant' },
    { name: 'gone', keys: [{ field: 'expiresAt', direction: 'asc' }], scope: 'tenant' },
  ],
  unique: [],
  text: ['t', 'o.t'],
};
const users: RecordSchema = {
  name: 'users',
  fields: new Map([
    ['email', { type: 'string', maxBytes: 512 }],
    ['shop', { type: 'number', maxBytes: 512 }],
  ]),
  indexes: [],
  unique: [{ name: 'email', fields: ['email', 'shop'] }],
  text: [],
};
const domain: FilterDomain = {
  declared: new Map(FIELDS),
  envelope: new Map<string, FieldType>([
    ['id', 'string'],
    ['version', 'number'],
    ['createdAt', 'date'],
    ['updatedAt', 'date'],
    ['expiresAt', 'date'],
  ]),
  values: 'json',
  tokenize,
};

const T0 = Date.UTC(2026, 0, 1);
const at = (milliseconds: number): Date => new Date(T0 + milliseconds);
const contextAt = (milliseconds: number): OperationContext => ({
  now: at(milliseconds),
  deadline: systemClock.monotonic() + 60_000,
});
const filterOf = (filter: unknown): FilterNode => normalize(parseFilter(filter, domain));

let pool: SqlPool;
let backend: RecordBackend;
const ctx = contextAt(0);
const A = { tenant: 'a' };

beforeAll(async () => {
  pool = pglite.create('pglite::memory:', {}, { clock: systemClock, name: 'main' });
  await pool.open({ clock: systemClock, signal: new AbortController().signal });
  backend = sql.create(pool, 'main');
  await backend.ensure([things, users], ctx);
}, 60_000);

afterAll(async () => {
  await pool.close(systemClock.monotonic() + 5_000);
});

async function clear(): Promise<void> {
  await pool.script('DELETE FROM quartermaster.things; DELETE FROM quartermaster.users', ctx);
}

/** Reproducible numbers in [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const STRINGS = ['', 'a', 'A', 'B', 'ab', 'é', 'É', '😀', '\uffff', "q'q", 'x\\y', '[1]', '1', 'a"b', '{x,y}', 'NULL'];
const NUMBERS = [0, 1, -1, 0.1, 5e-324, -5e-324, 1.7976931348623157e308, 2 ** 60 + 256, 0.3112906610273454, 1e22, 7];
const DATES = [
  at(0),
  at(1),
  at(86_400_000),
  new Date('0000-03-01T00:00:00.000Z'),
  new Date('9999-12-31T23:59:59.999Z'),
];
const PATHS = ['s', 'n', 'b', 'd', 'o', 'o.s', 'o.t', 'u', 'u.0', 'u.a', "q'k", 'toString', 'constructor'];

class Draw {
  constructor(readonly next: () => number) {}
  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)]!;
  }
  maybe(p: number): boolean {
    return this.next() < p;
  }
  scalar(): Scalar {
    return this.pick<() => Scalar>([
      () => null,
      () => this.maybe(0.5),
      () => this.pick(NUMBERS),
      () => this.pick(STRINGS),
    ])();
  }
  json(depth = 0): JsonValue {
    if (depth > 2 || this.maybe(0.6)) return this.scalar();
    if (this.maybe(0.5)) return Array.from({ length: Math.floor(this.next() * 3) }, () => this.json(depth + 1));
    return Object.fromEntries(['a', '0', 's', 't'].filter(() => this.maybe(0.4)).map((k) => [k, this.json(depth + 1)]));
  }
  value(): JsonObject {
    const value: Record<string, JsonValue> = {};
    const declared = <T extends JsonValue>(key: string, items: readonly T[]): void => {
      if (this.maybe(0.7)) value[key] = this.maybe(0.2) ? null : this.pick(items);
    };
    declared('s', STRINGS);
    declared('n', NUMBERS);
    declared('b', [true, false]);
    declared(
      'd',
      DATES.map((date) => date.toISOString()),
    );
    if (this.maybe(0.6)) {
      const o: Record<string, JsonValue> = {};
      if (this.maybe(0.7)) o['s'] = this.maybe(0.2) ? null : this.pick(STRINGS);
      if (this.maybe(0.5)) o['t'] = `${this.pick(STRINGS)} und ${this.pick(STRINGS)}`;
      value['o'] = this.maybe(0.1) ? this.scalar() : o;
    }
    for (const key of ['u', "q'k", 'toString', 'constructor']) if (this.maybe(0.4)) value[key] = this.json();
    return value;
  }
  operand(path: string): unknown {
    if (path === 'd' || /At$/.test(path)) return this.maybe(0.1) ? null : this.pick(DATES);
    if (path === 'id') return this.maybe(0.8) ? this.pick(['r1', 'r3', 'r10']) : this.scalar();
    if (path === 'version') return this.pick([1, 2, 1.5, 1e300, 'x']);
    return this.scalar();
  }
  filter(depth = 0): Record<string, unknown> {
    if (depth < 3 && this.maybe(0.4)) {
      const children = Array.from({ length: Math.floor(this.next() * 3) }, () => this.filter(depth + 1));
      return this.pick([{ $and: children }, { $or: children }, { $not: this.filter(depth + 1) }]);
    }
    if (this.maybe(0.07)) return { $text: this.pick(['und', 'a', 'É und', 'x', '']) };
    const path = this.pick([...PATHS, 'id', 'version', 'createdAt', 'updatedAt', 'expiresAt']);
    const operator = this.pick(
      ['$eq $ne $in $nin $gt $gte $lt $lte $exists $contains $startsWith $icontains'.split(' ')].flat(),
    );
    let operand: unknown = this.operand(path);
    if (operator === '$in' || operator === '$nin')
      operand = Array.from({ length: Math.floor(this.next() * 4) }, () => this.operand(path));
    else if (operator === '$exists') operand = this.maybe(0.5);
    else if (operator === '$contains') operand = this.scalar();
    else if (operator === '$startsWith' || operator === '$icontains') operand = this.pick(STRINGS);
    else if (/\$[gl]t/.test(operator) && (operand === null || typeof operand === 'boolean'))
      operand = path === 'd' || /At$/.test(path) ? DATES[0] : 1;
    return { [path]: { [operator]: operand } };
  }
  sort(): SortKey[] {
    const sort: Record<string, string> = {};
    for (let i = Math.floor(this.next() * 4); i > 0; i--)
      sort[this.pick(['s', 'n', 'b', 'd', 'o.s', 'id', 'version', 'createdAt', 'expiresAt'])] = this.pick([
        'asc',
        'desc',
      ]);
    const keys = Object.entries(sort);
    const id = keys.findIndex(([key]) => key === 'id');
    return parseSort(Object.fromEntries(id < 0 ? keys : keys.slice(0, id + 1)), domain);
  }
}

function compare(sort: readonly SortKey[], a: Stored, b: Stored): number {
  for (const key of sort) {
    const order = compareScalars(recordField(a, key) as Scalar, recordField(b, key) as Scalar);
    if (order !== 0) return key.direction === 'asc' ? order : -order;
  }
  return compareScalars(a.tenant, b.tenant);
}

async function fill(draw: Draw): Promise<Stored[]> {
  await clear();
  const all: Stored[] = [];
  for (const tenant of ['a', 'b']) {
    const writes = Array.from({ length: 14 }, (_, i): Extract<Write, { kind: 'insert' | 'put' }> => {
      const expiresAt = draw.pick([undefined, undefined, at(0), at(1), at(500), DATES[4]!]);
      return {
        kind: 'insert',
        collection: things,
        id: `r${i}`,
        value: draw.value(),
        createdAt: draw.pick(DATES),
        ...(expiresAt === undefined ? {} : { expiresAt }),
      };
    });
    await backend.write({ tenant }, writes, contextAt(-10));
    for (const { id, value, createdAt, expiresAt } of writes)
      all.push({
        ...{ tenant, id, version: 1, createdAt: createdAt!, updatedAt: at(-10), value },
        ...(expiresAt === undefined ? {} : { expiresAt }),
      });
  }
  return all;
}

describe('finds', () => {
  test('agree with the oracle on random records, filters, sorts and cursors', async () => {
    let answers = 0;
    for (let round = 0; round < 12; round++) {
      const draw = new Draw(random(round * 1_000 + 7));
      const all = await fill(draw);
      for (let i = 0; i < 40; i++) {
        const source = draw.filter();
        const filter = filterOf(source);
        const sort = draw.sort();
        const scope = draw.maybe(0.2) ? ('all' as const) : A;
        const limit = draw.pick([1, 3, 100]);
        const matching = all
          .filter((record) => scope === 'all' || record.tenant === 'a')
          .filter((record) => record.expiresAt === undefined || record.expiresAt > ctx.now)
          .filter((record) => evaluate(filter, recordSubject(record, things.text)))
          .sort((a, b) => compare(sort, a, b));
        const shown = JSON.stringify({ source, sort });
        expect([shown, await backend.count(scope, { collection: things, filter }, ctx)]).toEqual([
          shown,
          matching.length,
        ]);
        const found = await backend.find(scope, { collection: things, filter, sort, limit }, ctx);
        expect([shown, found]).toEqual([shown, matching.slice(0, limit)]);
        answers += found.length;
        if (scope === 'all') continue;
        const start = draw.pick(all);
        const ranges = cursorRanges(
          sort,
          sort.map((key) => (recordField(start, key) ?? null) as Scalar),
        );
        const after = matching.filter((record) => compare(sort, { ...start, tenant: 'a' }, record) < 0);
        const page = await backend.find(scope, { collection: things, filter, sort, limit, ranges }, ctx);
        expect([shown, start.id, page]).toEqual([shown, start.id, after.slice(0, limit)]);
      }
    }
    expect(answers).toBeGreaterThan(500);
  }, 120_000);

  test('use the declared indexes, forwards and backwards', async () => {
    await clear();
    await pool.query(
      `INSERT INTO quartermaster.things SELECT 'a', 'x' || i, 1, $1::timestamptz, $1::timestamptz, 'infinity', jsonb_build_object('s', 's' || i % 50, 'n', i) FROM generate_series(1, 3000) i`,
      [at(0).toISOString()],
      ctx,
    );
    await pool.script('ANALYZE quartermaster.things', ctx);
    const { findStatement } = await import('../src/backends/sql/find.js');
    for (const direction of ['asc', 'desc'] as const) {
      const sort = parseSort({ s: direction }, domain);
      for (const ranges of [undefined, cursorRanges(sort, ['s3', 'x3'])]) {
        const request = {
          collection: things,
          filter: ALL,
          sort,
          limit: 5,
          ...(ranges === undefined ? {} : { ranges }),
        };
        const { text, parameters } = findStatement(A, request, at(1));
        const plan = await pool.query(`EXPLAIN ${text}`, parameters.values, ctx);
        const shown = plan.rows.map((row) => String(row['QUERY PLAN'])).join('\n');
        expect(shown).toMatch(/Index Scan.* using things_i_/);
        expect(shown).not.toMatch(/\bSort Key: .*things|Seq Scan/);
      }
    }
  });
});

const CHANGE_PATHS = [
  'n',
  'u',
  'u.a',
  'u.0.x',
  'u.0.y',
  'o.s',
  "q'k",
  'deep.er.still',
  'deep.er.most',
  'toString.a',
  '0',
  'constructor',
];

function drawChanges(draw: Draw): PatchChanges {
  for (;;) {
    const changes: {
      set: Record<string, JsonValue>;
      unset: string[];
      increment: Record<string, number>;
      push: Record<string, JsonValue>;
    } = { set: {}, unset: [], increment: {}, push: {} };
    for (let i = 1 + Math.floor(draw.next() * 4); i > 0; i--) {
      const path = draw.pick(CHANGE_PATHS);
      draw.pick([
        () => (changes.set[path] = draw.json()),
        () => changes.unset.push(path),
        () => (changes.increment[path] = draw.pick([...NUMBERS, -1.7976931348623157e308])),
        () => (changes.push[path] = draw.json()),
      ])();
    }
    if (!('overlap' in patchTree(changes))) return changes;
  }
}

describe('patches', () => {
  test('agree with their definition, alone and in batches', async () => {
    const seen = new Map<string, number>();
    for (let round = 0; round < 25; round++) {
      const draw = new Draw(random(round * 77 + 3));
      const all = (await fill(draw)).filter((record) => record.tenant === 'a');
      const writes = all.map((record): Extract<Write, { kind: 'patch' }> => ({
        kind: 'patch',
        collection: things,
        id: record.id,
        changes: drawChanges(draw),
        ...(draw.maybe(0.3) ? { if: filterOf(draw.filter()) } : {}),
        ...(draw.maybe(0.3) ? { orInsert: draw.value() } : {}),
        ...(draw.maybe(0.3) ? { expiresAt: draw.pick([null, at(700)]) } : {}),
      }));
      const expected = writes.map((write, i) => expectedPatch(write, all[i]!));
      const batch = await backend.write(A, writes, ctx);
      if (expected.some((result) => result.status !== 'patched'))
        expect(batch).toEqual(expected.map((result) => (result.status === 'patched' ? { status: 'skipped' } : result)));
      else expect(batch).toEqual(expected);
      const good = writes.filter((_, i) => expected[i]!.status === 'patched');
      const goodResults = expected.filter((result) => result.status === 'patched');
      if (round % 2 === 0 && good.length > 1 && good.length < writes.length)
        expect(await backend.write(A, good, ctx)).toEqual(goodResults);
      else
        for (const [i, write] of writes.entries()) {
          if (batch[i]!.status === 'patched') continue;
          const shown = JSON.stringify(write);
          expect([shown, await backend.write(A, [write], ctx)]).toEqual([shown, [expected[i]]]);
        }
      for (const { status } of expected) seen.set(status, (seen.get(status) ?? 0) + 1);
    }
    for (const status of ['patched', 'invalid', 'missing', 'unmatched']) expect(seen.get(status)).toBeGreaterThan(5);
  }, 120_000);

  function expectedPatch(write: Extract<Write, { kind: 'patch' }>, record: Stored): WriteResult {
    const expiry = write.expiresAt === undefined ? record.expiresAt : (write.expiresAt ?? undefined);
    if (record.expiresAt !== undefined && record.expiresAt <= ctx.now) {
      if (write.orInsert === undefined) return { status: 'missing' };
      const expires = write.expiresAt instanceof Date ? { expiresAt: write.expiresAt } : {};
      const envelope = { tenant: 'a', id: record.id, version: 1, createdAt: at(0), updatedAt: at(0) };
      return { status: 'patched', record: { ...envelope, ...expires, value: write.orInsert } };
    }
    if (write.if !== undefined && !evaluate(write.if, recordSubject(record, things.text)))
      return { status: 'unmatched', version: 1 };
    const tree = patchTree(write.changes);
    if ('overlap' in tree) throw new Error('overlap');
    const outcome = applyPatch(record.value, tree);
    if (!outcome.ok) return { status: 'invalid', path: outcome.path, reason: outcome.reason };
    const { tenant, id, createdAt } = record;
    const expires = expiry === undefined ? {} : { expiresAt: expiry };
    return {
      status: 'patched',
      record: { tenant, id, version: 2, createdAt, updatedAt: at(0), ...expires, value: outcome.value },
    };
  }

  test('refuse a value beyond the hard limit, and take many keys at once', async () => {
    await clear();
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

const insertUser = (id: string, value: JsonObject, more: object = {}): Write => ({
  kind: 'insert',
  collection: users,
  id,
  value,
  ...more,
});

describe('batches', () => {
  test('cross collections, give every result, and write nothing when one item fails', async () => {
    await clear();
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
    await clear();
    const put = (id: string): Write => ({ kind: 'put', collection: things, id, value: {} });
    const missing: Write = { kind: 'replace', collection: things, id: 'nobody', value: {} };
    await pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...ctx, session };
      const results = await Promise.all([
        backend.write(A, [put('a'), missing], inside),
        backend.write(A, [put('b')], inside),
        backend.write(A, [put('c'), put('d')], inside),
        backend.write(A, [missing, put('e')], inside),
      ]);
      expect(results.map((items) => items.map((item) => item.status))).toEqual([
        ['skipped', 'missing'],
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
    await clear();
    const value = { email: 'e', shop: 1 };
    await backend.write(A, [insertUser('1', value)], ctx);
    const moved: Write[] = [insertUser('2', value), { kind: 'delete', collection: users, id: '1' }];
    expect((await backend.write(A, moved, ctx)).map((item) => item.status)).toEqual(['written', 'deleted']);
  });

  test('of a thousand patches are atomic over their statements', async () => {
    await clear();
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

describe('unique constraints', () => {
  test('name the constraint, leave out what lacks a field, and end a session', async () => {
    await clear();
    const value = { email: 'e', shop: 1 };
    await backend.write(A, [insertUser('1', value), insertUser('2', { email: 'e' })], ctx);
    await backend.write({ tenant: 'b' }, [insertUser('1', value)], ctx);
    const refused = { code: 'ALREADY_EXISTS', details: { constraint: 'email', collection: 'users' } };
    await expect(backend.write(A, [insertUser('3', value)], ctx)).rejects.toMatchObject(refused);
    await expect(backend.write(A, [insertUser('3', value), insertUser('4', {})], ctx)).rejects.toMatchObject(refused);
    const patch: Write = { kind: 'patch', collection: users, id: '2', changes: { set: { shop: 1 } } };
    await expect(backend.write(A, [patch], ctx)).rejects.toMatchObject(refused);
    const swallowed = pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...ctx, session };
      await backend.write(A, [insertUser('5', {})], inside);
      await expect(backend.write(A, [patch], inside)).rejects.toMatchObject(refused);
      await expect(backend.write(A, [insertUser('6', {})], inside)).rejects.toMatchObject(refused);
    });
    await expect(swallowed).rejects.toMatchObject(refused);
    expect(await backend.count(A, { collection: users, filter: ALL }, ctx)).toBe(2);
  });

  test('are freed by expiry before any sweep, alone and in a session', async () => {
    await clear();
    const value = { email: 'e', shop: 1 };
    await backend.write(A, [insertUser('1', value, { expiresAt: at(10) })], ctx);
    await expect(backend.write(A, [insertUser('2', value)], contextAt(9))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    const [result] = await backend.write(A, [insertUser('2', value, { expiresAt: at(20) })], contextAt(10));
    expect(result).toMatchObject({ status: 'written', version: 1 });
    await pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...contextAt(20), session };
      const [own] = await backend.write(A, [insertUser('3', value)], inside);
      expect(own).toMatchObject({ status: 'written', version: 1 });
    });
  });

  test('that do not fit the records there are a migration fault', async () => {
    const loose: RecordSchema = { ...users, name: 'loose', unique: [] };
    await backend.ensure([loose], ctx);
    const rows = ['1', '2'].map((id): Write => ({
      kind: 'insert',
      collection: loose,
      id,
      value: { email: 'e', shop: 1 },
    }));
    await backend.write(A, rows, ctx);
    await expect(backend.ensure([{ ...loose, unique: users.unique }], ctx)).rejects.toMatchObject({
      code: 'MIGRATION',
      details: { constraint: 'email' },
    });
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
    expect(names).toEqual(expect.arrayContaining(tablePlan(late).indexes.map((index) => index.name)));
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
    await clear();
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

  test('keep times to the edge of what a Date can hold', async () => {
    await clear();
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
      get: (target, key) => (key === 'dialect' ? 'sqlite' : (Reflect.get(target, key, target) as unknown)),
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
