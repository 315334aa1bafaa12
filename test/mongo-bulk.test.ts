/** Many records at once in MongoDB's documents: what its own forms must not do otherwise than one patch at a time. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ClaimRequest, JsonObject, RecordBackend, Scope, Stored, UpdateRequest } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import { parseSort } from '../src/filter/cursor.js';
import { knownFields } from '../src/filter/fields.js';
import { normalize } from '../src/filter/normalize.js';
import { parseFilter } from '../src/filter/syntax.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  backendOn,
  context,
  describeServer,
  Fixture,
  type ServerName,
  stored,
  write,
} from './support/mongo/fixture.js';

const Jobs = defineCollection<Record<string, unknown>>({
  name: 'jobs',
  fields: { state: 'string', n: 'number', key: 'string', 'constructor.p': 'number' },
  indexes: [{ keys: ['state', 'n'] }],
  unique: [{ name: 'byKey', fields: ['key'] }],
  id: 'given',
});
const { schema, domain } = Jobs;
const fields = knownFields(domain);
const NOW = new Date('2026-03-04T05:06:07.008Z');
const LATER = new Date(NOW.getTime() + 60_000);

function filter(given: object): UpdateRequest['filter'] {
  return normalize(parseFilter(given, domain));
}

function changing(given: object, changes: UpdateRequest['changes']): UpdateRequest {
  return { collection: schema, filter: filter(given), changes };
}

function claiming(given: object, changes: UpdateRequest['changes'], sort: object, limit: number): ClaimRequest {
  return { ...changing(given, changes), sort: parseSort(sort, domain), limit };
}

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'many records in documents', () => {
    let fixture: Fixture;
    let pool: MongoPool;
    let backend: RecordBackend;
    let tenants = 0;
    beforeAll(async () => {
      fixture = await Fixture.open(server);
      pool = await fixture.pool();
      backend = backendOn(pool);
      await backend.ensure([schema], context());
    });
    afterAll(() => fixture.close());

    const freshScope = () => ({ tenant: `t${tenants++}` });
    const at = (now = NOW) => context({ now });
    const fill = async (scope: { tenant: string }, values: Record<string, JsonObject>, expiresAt?: Date) => {
      const expiry = expiresAt === undefined ? {} : { expiresAt };
      const writes = Object.entries(values).map(([id, value]) => write(schema, id, { kind: 'put', value, ...expiry }));
      await backend.write(scope, writes, at());
    };
    const all = (scope: Scope, given: object = {}): Promise<Stored[]> =>
      backend.find(
        scope,
        { collection: schema, filter: filter(given), sort: parseSort({}, domain), limit: 10_000 },
        at(),
      );
    const valuesOf = async (scope: Scope): Promise<Record<string, [number, JsonObject]>> =>
      Object.fromEntries((await all(scope)).map(({ id, version, value }) => [id, [version, value]]));

    test('what one update cannot change is changed all the same, once, and what does not fit is left alone', async () => {
      const scope = freshScope();
      const half = 'ä'.repeat(400_000);
      await fill(scope, { large: { a: half, n: 1 } });
      await fill(scope, {
        larger: { a: 'x'.repeat(1_000_000), b: 'x'.repeat(500_000), n: 1 },
        list: { l: [{ x: 1 }, 2], n: 1 },
        object: { l: { '0': 1, y: 1 }, n: 1 },
        text: { n: 1, o: 'text' },
        without: {},
      });
      const changes = { increment: { n: 1 }, set: { 'o.text': 'x'.repeat(700_000) }, unset: ['l.0'] };
      expect(await backend.updateMany!(scope, changing({}, changes), at())).toBe(4);
      const met = await valuesOf(scope);
      expect(met['large']).toEqual([2, { a: half, n: 2, o: { text: 'x'.repeat(700_000) } }]);
      expect(met['larger']![0]).toBe(1);
      expect(met['list']![1]['l']).toEqual([{ x: 1 }, 2]);
      expect(met['object']![1]['l']).toEqual({ y: 1 });
      expect(met['text']).toEqual([1, { n: 1, o: 'text' }]);
      expect(met['without']).toMatchObject([2, { n: 1 }]);
    });

    test('increments end at the largest double, and arrays and objects are made where they are missing', async () => {
      const scope = freshScope();
      const most = Number.MAX_VALUE;
      await fill(scope, { most: { m: most }, less: { m: -1, p: [0] }, none: {}, nothing: { m: null }, odd: { p: {} } });
      const changes = { increment: { m: 1e300 }, push: { p: { $ref: 'a' } }, set: { 'toString.x': 1 } };
      expect(await backend.updateMany!(scope, changing({}, changes), at())).toBe(2);
      const added = { toString: { x: 1 } };
      expect(await valuesOf(scope)).toEqual({
        most: [1, { m: most }],
        less: [2, { m: 1e300, p: [0, { $ref: 'a' }], ...added }],
        none: [2, { m: 1e300, p: [{ $ref: 'a' }], ...added }],
        nothing: [1, { m: null }],
        odd: [1, { p: {} }],
      });
    });

    test('more than are left out of one update are all changed once', async () => {
      const scope = freshScope();
      const values = Array.from({ length: 240 }, (_, i): [string, JsonObject] => [
        `r${String(i).padStart(3, '0')}`,
        i % 10 === 0 ? { l: { '0': i, n: i } } : { l: [i] },
      ]);
      await fill(scope, Object.fromEntries(values));
      expect(await backend.updateMany!(scope, changing({}, { unset: ['l.0'] }), at())).toBe(240);
      const met = await all(scope);
      expect(met.filter(({ version }) => version === 2)).toHaveLength(240);
      expect(met[10]!.value).toEqual({ l: { n: 10 } });
    });

    test('updates at once lose nothing', async () => {
      const scope = freshScope();
      await fill(scope, Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`r${i}`, { n: i }])));
      const request = changing({ n: { $gte: 0 } }, { increment: { n: 100 } });
      const counts = await Promise.all(Array.from({ length: 6 }, () => backend.updateMany!(scope, request, at())));
      expect(counts).toEqual([60, 60, 60, 60, 60, 60]);
      for (const { value, version } of await all(scope))
        expect([version, Number(value['n']) >= 600]).toEqual([7, true]);
    });

    test('of updates at once that each change what the others look for, one has each record', async () => {
      const scope = freshScope();
      const due = Array.from({ length: 200 }, (_, i): [string, JsonObject] => [`r${i}`, { state: 'due', n: i }]);
      await fill(scope, Object.fromEntries(due));
      const filters = [
        { state: 'due' },
        { state: 'due', n: { $lt: 150 } },
        { $or: [{ n: { $gte: 50 } }, { n: 0 }], state: 'due' },
      ];
      const counts = await Promise.all(
        [...filters, ...filters].map((given) =>
          backend.updateMany!(scope, changing(given, { set: { state: 'x' } }), at()),
        ),
      );
      expect(counts.reduce((sum, count) => sum + count)).toBe(200);
      expect((await all(scope)).every(({ version }) => version === 2)).toBe(true);
    });

    test('all tenants are one scope, and what expired is met by none of it', async () => {
      const [one, two] = [freshScope(), freshScope()];
      const state = `only ${one.tenant}`;
      for (const scope of [one, two]) {
        await fill(scope, { a: { state, n: 1 }, b: { state, n: 2 } });
        await fill(scope, { gone: { state, n: 3 } }, NOW);
        await fill(scope, { soon: { state, n: 4 } }, new Date(NOW.getTime() + 1));
      }
      expect(await backend.updateMany!('all', changing({ state }, { increment: { n: 10 } }), at())).toBe(6);
      const by = [fields.get('state')!];
      const [group] = await backend.aggregate!(
        'all',
        { collection: schema, filter: filter({ state }), by, numbers: [fields.get('n')!], limit: 10 },
        at(),
      );
      expect(group).toEqual({ key: [state], count: 6, numbers: [{ count: 6, sum: 74, min: 11, max: 14 }] });
      const request = claiming({ state }, { set: { state: 'taken' } }, { n: 'asc' }, 3);
      const taken = await backend.claim!('all', request, at());
      expect(taken.map(({ id, value }) => `${id}${Number(value['n'])}`).sort()).toEqual(['a11', 'a11', 'b12']);
      expect(new Set(taken.map(({ tenant }) => tenant))).toEqual(new Set([one.tenant, two.tenant]));
      expect(await stored(pool, fixture.url, schema).countDocuments({ i: 'gone', 'v.n': 3, n: 1, t: one.tenant })).toBe(
        1,
      );
    });

    test('eight claimers in different orders take each of 500 records once', async () => {
      const scope = freshScope();
      const due = Array.from({ length: 500 }, (_, i): [string, JsonObject] => [`r${i}`, { state: 'due', n: i }]);
      await fill(scope, Object.fromEntries(due));
      const taken: Stored[] = [];
      const claimer = async (me: number): Promise<void> => {
        const sort = me % 2 === 0 ? { n: 'asc' } : { n: 'desc' };
        const request = claiming({ state: 'due' }, { set: { state: 'taken', by: me } }, sort, 5 + 5 * me);
        for (;;) {
          const own = await backend.claim!(scope, request, at());
          if (own.length === 0) return;
          expect(own.every(({ value, version }) => value['by'] === me && version > 1)).toBe(true);
          taken.push(...own);
        }
      };
      // Others write to the same records meanwhile.
      const other = async (): Promise<void> => {
        for (let i = 0; i < 5; i++)
          await backend.updateMany!(scope, changing({ n: { $gte: 0 } }, { increment: { seen: 1 } }), at());
      };
      await Promise.all([...Array.from({ length: 8 }, (_, me) => claimer(me)), other()]);
      for (;;) {
        // A claimer passes over what it lost, though it may match still.
        const rest = await backend.claim!(
          scope,
          claiming({ state: 'due' }, { set: { state: 'taken', by: 8 } }, {}, 500),
          at(),
        );
        if (rest.length === 0) break;
        taken.push(...rest);
      }
      expect(taken).toHaveLength(500);
      expect(new Set(taken.map(({ id }) => id)).size).toBe(500);
      const owners = new Map((await all(scope)).map(({ id, value }) => [id, value]));
      for (const { id, value } of taken)
        expect(owners.get(id)).toMatchObject({ state: 'taken', by: value['by'], seen: 5 });
    });

    test('a claim passes over what does not fit, and gives copies', async () => {
      const scope = freshScope();
      const poor = Array.from({ length: 30 }, (_, i): [string, JsonObject] => [`a${i}`, { n: i, tries: 'many' }]);
      await fill(scope, { ...Object.fromEntries(poor), b1: { n: 40 }, b2: { n: 50, tries: 1 } });
      const lease = { by: 'me' };
      const changes = { increment: { tries: 1 }, set: { lease } };
      const request = { ...claiming({}, changes, { n: 'asc' }, 2), expiresAt: LATER };
      const taken = await backend.claim!(scope, request, at());
      expect(taken.map(({ value }) => value).sort((a, b) => Number(a['n']) - Number(b['n']))).toEqual([
        { n: 40, tries: 1, lease },
        { n: 50, tries: 2, lease },
      ]);
      expect(taken.map(({ expiresAt, updatedAt }) => [expiresAt, updatedAt])).toEqual([
        [LATER, NOW],
        [LATER, NOW],
      ]);
      expect(taken[0]!.value['lease']).not.toBe(taken[1]!.value['lease']);
      expect(taken[0]!.value['lease']).not.toBe(lease);
    });

    test('a constraint that many changes break is named, and an expired record gives its key up', async () => {
      const scope = freshScope();
      await fill(scope, { gone: { key: 'k' } }, NOW);
      await fill(scope, { a: { n: 1 }, b: { n: 2 } });
      const keyed = (given: object, key: string) => changing(given, { set: { key } });
      expect(await backend.updateMany!(scope, keyed({ n: 1 }, 'k'), at())).toBe(1);
      const broken = { code: 'ALREADY_EXISTS', details: { constraint: 'byKey', collection: 'jobs' } };
      await expect(backend.updateMany!(scope, keyed({ n: 2 }, 'k'), at())).rejects.toMatchObject(broken);
      const request = { ...keyed({ n: 2 }, 'k'), sort: parseSort({}, domain), limit: 1 };
      await expect(backend.claim!(scope, request, at())).rejects.toMatchObject(broken);
    });

    test('sums are those of doubles, and a group is a value whatever number type it is kept in', async () => {
      const scope = freshScope();
      const big = 2 ** 53;
      await fill(scope, {
        a: { state: 'a', n: 1 },
        b: { state: 'a', n: 0 },
        c: { state: 'b', n: big },
        d: { state: 'b', n: null },
        e: { n: 2_147_483_647, constructor: { p: 2 } },
        f: { state: null, n: 2_147_483_647 },
        g: { state: 'max', n: Number.MAX_VALUE },
        h: { state: 'max', n: Number.MAX_VALUE },
      });
      // A patch keeps a double where a write keeps an integer.
      await backend.updateMany!(scope, changing({ state: 'a', n: 0 }, { increment: { n: 1 } }), at());
      const question = { collection: schema, filter: filter({}), limit: 100 };
      const groups = async (by: string[], numbers: string[], limit = 100) => {
        const given = { by: by.map((path) => fields.get(path)!), numbers: numbers.map((path) => fields.get(path)!) };
        const found = await backend.aggregate!(scope, { ...question, ...given, limit }, at());
        return found.sort((a, b) => (JSON.stringify(a.key) < JSON.stringify(b.key) ? -1 : 1));
      };
      const none = { count: 0, sum: 0 };
      const most = { count: 2, sum: Infinity, min: Number.MAX_VALUE, max: Number.MAX_VALUE };
      const ints = { count: 2, sum: 4_294_967_294, min: 2_147_483_647, max: 2_147_483_647 };
      expect(await groups(['state'], ['n', 'constructor.p'])).toEqual([
        { key: ['a'], count: 2, numbers: [{ count: 2, sum: 2, min: 1, max: 1 }, none] },
        { key: ['b'], count: 2, numbers: [{ count: 1, sum: big, min: big, max: big }, none] },
        { key: ['max'], count: 2, numbers: [most, none] },
        { key: [null], count: 2, numbers: [ints, { count: 1, sum: 2, min: 2, max: 2 }] },
      ]);
      expect(await groups(['n'], [])).toContainEqual({ key: [1], count: 2, numbers: [] });
      expect(await groups(['constructor.p'], [])).toEqual([
        { key: [2], count: 1, numbers: [] },
        { key: [null], count: 7, numbers: [] },
      ]);
      expect(await groups(['n'], [], 2)).toHaveLength(2);
      expect(await groups([], ['n'])).toMatchObject([{ key: [], count: 8, numbers: [{ count: 7, sum: Infinity }] }]);
      const nobody = { ...question, filter: filter({ state: 'nobody' }), by: [], numbers: [] };
      expect(await backend.aggregate!(scope, nobody, at())).toEqual([]);
    });

    test('a load is made wholly or not at all, where there are transactions', async () => {
      if (server === 'ferretdb') {
        expect(backend.bulkLoad).toBeUndefined();
        return;
      }
      const scope = freshScope();
      await fill(scope, { gone: { key: 'k' } }, NOW);
      const insert = (id: string, value: JsonObject, more = {}) =>
        ({ collection: schema, id, kind: 'insert', value, ...more }) as const;
      const createdAt = new Date(0);
      await backend.bulkLoad!(
        scope,
        [insert('a', { key: 'k', $x: [{ '': 1 }] }, { createdAt, expiresAt: LATER }), insert('b', { n: 1 })],
        at(),
      );
      const record = { tenant: scope.tenant, version: 1, updatedAt: NOW };
      expect(await all(scope)).toEqual([
        { ...record, id: 'a', createdAt, expiresAt: LATER, value: { key: 'k', $x: [{ '': 1 }] } },
        { ...record, id: 'b', createdAt: NOW, value: { n: 1 } },
      ]);
      const there = backend.bulkLoad!(scope, [insert('c', {}), insert('b', {})], at());
      await expect(there).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      const held = backend.bulkLoad!(scope, [insert('c', {}), insert('d', { key: 'k' })], at());
      await expect(held).rejects.toMatchObject({ code: 'ALREADY_EXISTS', details: { constraint: 'byKey' } });
      expect(await all(scope)).toHaveLength(2);
      await backend.bulkLoad!(scope, [], at());
    });

    test('within a transaction they see what it wrote, and are undone with it', async () => {
      if (server === 'ferretdb') {
        const work = pool.transaction({ context: at(), isolation: 'snapshot' }, () => Promise.resolve());
        await expect(work).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        return;
      }
      const scope = freshScope();
      await fill(scope, { a: { state: 'due', n: 1 }, b: { state: 'due', n: 2 } });
      const by = [fields.get('state')!];
      const question = { collection: schema, filter: filter({}), by, numbers: [fields.get('n')!], limit: 10 };
      const rolledBack = pool.transaction({ context: at(), isolation: 'snapshot' }, async (session) => {
        const inside = { ...at(), session };
        await backend.bulkLoad!(
          scope,
          [{ collection: schema, id: 'c', kind: 'insert', value: { state: 'due', n: 3, l: [1] } }],
          inside,
        );
        const changes = { increment: { n: 10 }, unset: ['l.x'] };
        expect(await backend.updateMany!(scope, changing({ state: 'due' }, changes), inside)).toBe(3);
        const request = claiming({ state: 'due' }, { set: { state: 'taken' } }, { n: 'desc' }, 2);
        const taken = await backend.claim!(scope, request, inside);
        expect(taken.map(({ id, version }) => `${id}${version}`).sort()).toEqual(['b3', 'c3']);
        const groups = await backend.aggregate!(scope, question, inside);
        expect(groups).toContainEqual({ key: ['taken'], count: 2, numbers: [{ count: 2, sum: 25, min: 12, max: 13 }] });
        throw new Error('enough');
      });
      await expect(rolledBack).rejects.toThrow('enough');
      expect(await valuesOf(scope)).toEqual({ a: [1, { state: 'due', n: 1 }], b: [1, { state: 'due', n: 2 }] });
    });
  });
