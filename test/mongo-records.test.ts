/** Records in MongoDB's documents: the traps of the server and the client, and what only this backend does. */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { defineCollection } from '../src/collection/definition.js';
import type { JsonObject, RecordBackend, Stored } from '../src/backends/backend.js';
import { decodeKeys, encodeKeys, hasOddKeys } from '../src/backends/mongo/keys.js';
import { normalize } from '../src/filter/normalize.js';
import { parseFilter } from '../src/filter/syntax.js';
import { openOracle } from '../src/testing/record-target.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  backendOn,
  clientOf,
  context,
  describeServer,
  failure,
  Fixture,
  type ServerName,
  stored,
  write,
} from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

const Things = defineCollection<Record<string, unknown>>({
  name: 'things',
  fields: { s: 'string', n: 'number', 'o.p': 'number' },
  indexes: [{ keys: ['s', 'n'] }],
  unique: [
    { name: 'byCode', fields: ['s'] },
    { name: 'byPair', fields: ['n', 'o.p'] },
  ],
  text: ['body'],
  id: 'given',
});
const { schema, domain } = Things;

const ODD: JsonObject = {
  constructor: [{ a: 1 }],
  toString: [[{ valueOf: [{}] }]],
  hasOwnProperty: 'x',
  _bsontype: 'ObjectId',
  $ref: 'a',
  $id: 'b',
  $db: 'c',
  nested: { $ref: 'a', $id: { _bsontype: 'Long' }, list: [{ $ref: 'x', $id: 1 }, { constructor: [] }] },
  '~x': { '~~': 1, '~$': 2 },
  '': [{ '': [] }],
  'a.b': { 'c.d': [1] },
  $set: { $inc: 1 },
  $literal: '$$ROOT',
};

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'records in documents', () => {
    let fixture: Fixture;
    let pool: MongoPool;
    let backend: RecordBackend;
    const scope = { tenant: 't' };
    beforeAll(async () => {
      fixture = await Fixture.open(server);
      pool = await fixture.pool();
      backend = backendOn(pool);
      await backend.ensure([schema], context());
    });
    afterAll(() => fixture.close());

    const put = (id: string, value: JsonObject) =>
      backend.write(scope, [write(schema, id, { kind: 'put', value })], context());
    const patch = async (id: string, changes: object) =>
      (await backend.write(scope, [write(schema, id, { kind: 'patch', changes })], context()))[0]!;
    const read = async (id: string): Promise<Stored | undefined> =>
      (await backend.read(scope, [{ collection: schema, id }], context()))[0];
    const idsOf = async (filter: object): Promise<string[]> => {
      const node = normalize(parseFilter(filter, domain));
      const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
      const found = await backend.find(scope, { collection: schema, filter: node, sort, limit: 50 }, context());
      return found.map(({ id }) => id);
    };

    test.each([
      ['put', 'put'],
      ['put', 'insert'],
      ['insert', 'put'],
      ['insert', 'insert'],
    ] as const)('an expired record has given its key up when a batch writes it anew: %s, %s', async (first, second) => {
      const now = new Date();
      const oracle = await openOracle();
      const own = { tenant: `${first} ${second}` };
      for (const records of [oracle.backend, backend]) {
        const kept = write(schema, 'z', { kind: 'put', value: { s: 'k' }, expiresAt: now });
        await records.write(own, [kept], context({ now: new Date(now.getTime() - 1_000) }));
        const batch = [
          write(schema, 'a', { kind: first, value: { s: 'k' } }),
          write(schema, 'z', { kind: second, value: { s: 'other' } }),
        ];
        const results = await records.write(own, batch, context({ now }));
        expect(results).toMatchObject([
          { status: 'written', version: 1 },
          { status: 'written', version: 1 },
        ]);
        const ids = ['a', 'z'].map((id) => ({ collection: schema, id }));
        const found = await records.read(own, ids, context({ now }));
        expect(found.map((record) => record?.value['s'])).toEqual(['k', 'other']);
      }
      await oracle.close();
    });

    test('keys that servers or the client take for something come back as they were, as plain objects', async () => {
      for (const kind of ['insert', 'put', 'replace'] as const) {
        await backend.write(scope, [write(schema, 'odd', { kind, value: ODD })], context());
        const { value } = (await read('odd'))!;
        assert.deepStrictEqual(value, ODD);
        expectPlain(value);
      }
      const refused = await patch('odd', { set: { 'constructor.x': ODD } });
      expect(refused).toMatchObject({ status: 'invalid', path: 'constructor', reason: 'not-an-object' });
      await put('plain', { a: 1 });
      await patch('plain', {
        set: { 'valueOf.x': 1, q: { _bsontype: 'Long' } },
        push: { list: { $ref: 'a', $id: 'b' } },
      });
      const { value } = (await read('plain'))!;
      const list = [{ $ref: 'a', $id: 'b' }];
      assert.deepStrictEqual(value, { a: 1, valueOf: { x: 1 }, q: { _bsontype: 'Long' }, list });
      expectPlain(value);
      const [deleted] = await backend.write(scope, [write(schema, 'odd', { kind: 'delete' })], context());
      assert.deepStrictEqual(deleted?.status === 'deleted' ? deleted.record?.value : undefined, ODD);
    });

    test('a document has its key in parts, its words, and its time to expire or none', async () => {
      const expiresAt = new Date(Date.now() + 60_000);
      const value = { $x: 1, body: 'red fox' };
      await backend.write(scope, [write(schema, 'i', { kind: 'put', value, expiresAt })], context());
      const document = await stored(pool, fixture.url, schema).findOne({ _id: 't\u001fi' });
      expect(document).toMatchObject({ t: 't', i: 'i', n: 1, k: 1, w: ['red', 'fox'], v: { '~$x': 1 } });
      expect([document!['x'], document!['e']]).toEqual([expiresAt, expiresAt]);
      await put('i', { body: 'red' });
      const again = await stored(pool, fixture.url, schema).findOne({ _id: 't\u001fi' });
      expect(again).toMatchObject({ n: 2, w: ['red'] });
      expect([again!['e'], again!['k']]).toEqual([undefined, undefined]);
      expect((await read('i'))!.expiresAt).toBeUndefined();
    });

    test('filters look into no array, and at no index of one', async () => {
      await put('f1', { a: [1, 2] });
      await put('f2', { a: [{ b: 1 }] });
      await put('f3', { a: [null] });
      await put('f4', { a: { '0': 1, b: 1 } });
      await put('f5', { a: null });
      await put('f6', {});
      const own = (filter: object) => idsOf({ $and: [{ id: { $startsWith: 'f' } }, filter] });
      expect(await own({ a: 1 })).toEqual([]);
      expect(await own({ a: { $gt: 0 } })).toEqual([]);
      expect(await own({ a: { $gt: 1, $lt: 2 } })).toEqual([]);
      expect(await own({ 'a.b': 1 })).toEqual(['f4']);
      expect(await own({ 'a.b': { $exists: true } })).toEqual(['f4']);
      expect(await own({ 'a.0': 1 })).toEqual(['f4']);
      expect(await own({ a: null })).toEqual(['f5']);
      expect(await own({ a: { $contains: null } })).toEqual(['f3']);
      expect(await own({ a: { $ne: null } })).toEqual(['f1', 'f2', 'f3', 'f4', 'f6']);
      // A declared path and an operator that FerretDB 2.7 dies of when it is put as $elemMatch.
      expect(await own({ s: { $contains: 'x' } })).toEqual([]);
    });

    test('$startsWith is a range up to the next text, whatever its end', async () => {
      const last = '\u{10ffff}';
      const texts = ['a', 'a\uffff', `a${last}`, `a${last}b`, 'b', last, '\ud7ff', '\ud7ffx', '\ue000', ''];
      for (const [i, text] of texts.entries()) await put(`s${i}`, { t: text });
      for (const prefix of ['a', `a${last}`, last, '\ud7ff', '', 'a\uffff', 'x'.repeat(40_000)]) {
        const expected = texts.flatMap((text, i) => (text.startsWith(prefix) ? [`s${i}`] : []));
        expect(await idsOf({ $and: [{ id: { $startsWith: 's' } }, { t: { $startsWith: prefix } }] })).toEqual(expected);
      }
    });

    test('two tenants may have one id', async () => {
      const other = { tenant: 't2' };
      await put('same', { a: 1 });
      await backend.write(other, [write(schema, 'same', { kind: 'put', value: { a: 2 } })], context());
      expect((await read('same'))!.value).toEqual({ a: 1 });
      const found = await backend.read(other, [{ collection: schema, id: 'same' }], context());
      expect(found).toMatchObject([{ tenant: 't2', value: { a: 2 } }]);
    });

    test('increments are those of doubles, and patches that no update makes are made all the same', async () => {
      const big = 2 ** 53;
      await put('p', { n: 2_147_483_647, big, list: [1, { x: 1 }], text: 'x' });
      expect(await patch('p', { increment: { n: 1, big: 1 } })).toMatchObject({
        record: { value: { n: 2_147_483_648, big: big + 1 } },
      });
      expect(await patch('p', { increment: { big: 0.1 }, unset: ['list.0', 'text.y'] })).toMatchObject({
        status: 'patched',
        record: { value: { list: [1, { x: 1 }], text: 'x', big: big + 0.1 } },
      });
      expect(await patch('p', { set: { 'list.0': 1 } })).toMatchObject({ status: 'invalid', path: 'list' });
      expect(await patch('p', { increment: { text: 1 } })).toMatchObject({ status: 'invalid', reason: 'not-a-number' });
      await put('p', { n: Number.MAX_VALUE });
      expect(await patch('p', { increment: { n: 1e300 } })).toMatchObject({ status: 'invalid', reason: 'overflow' });
    });

    test('a value of about a megabyte can be patched, and one beyond 2 MiB is too large', async () => {
      const half = 'ä'.repeat(300_000);
      await put('large', { a: half });
      expect(await patch('large', { set: { b: half } })).toMatchObject({ status: 'patched', record: { version: 2 } });
      expect(await patch('large', { set: { c: half } })).toMatchObject({ status: 'patched', record: { version: 3 } });
      expect(await patch('large', { set: { d: half } })).toMatchObject({ status: 'invalid', reason: 'too-large' });
      expect((await read('large'))!.version).toBe(3);
    });

    test('a unique key is named, the id counts first, and an expired record gives its key up', async () => {
      const now = new Date();
      const expiresAt = new Date(now.getTime() + 1_000);
      const insert = (id: string, value: JsonObject, time = now) =>
        backend.write(scope, [write(schema, id, { kind: 'insert', value, expiresAt })], { ...context(), now: time });
      await insert('u1', { s: 'k', n: 1, o: { p: 2 } });
      await expect(insert('u2', { s: 'k' })).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        details: { constraint: 'byCode' },
      });
      await expect(insert('u2', { n: 1, o: { p: 2 } })).rejects.toMatchObject({ details: { constraint: 'byPair' } });
      expect(await insert('u1', { s: 'k' })).toMatchObject([{ status: 'exists', version: 1 }]);
      await insert('u2', { n: 1, o: {} });
      expect(await insert('u3', { s: 'k' }, expiresAt)).toMatchObject([{ status: 'written' }]);
    });

    test('puts of one new id at once have a version each', async () => {
      const results = await Promise.all(Array.from({ length: 30 }, (_, i) => put('hot', { i, s: 'hot' })));
      const versions = results.map(([result]) => (result as { version: number }).version);
      expect(new Set(versions).size).toBe(30);
      // SecantusDB says that it did nothing of an upsert which met another's insert, and did it: that one is made twice.
      expect((await read('hot'))!.version).toBe(Math.max(...versions));
      const insert = write(schema, 'one', { kind: 'insert', value: { s: 'o' } });
      const inserts = await Promise.all(Array.from({ length: 20 }, () => backend.write(scope, [insert], context())));
      expect(inserts.filter(([result]) => result!.status === 'written')).toHaveLength(1);
    });

    test('a write whose answer is lost is made once, or of unknown outcome', async () => {
      const proxy = await Proxy.open(fixture.url);
      const own = backendOn(await fixture.pool({ pool: { connectTimeout: 3_000 } }, proxy.through(fixture.url)));
      const insert = () => own.write(scope, [write(schema, 'lost', { kind: 'insert', value: { a: 1 } })], context());
      proxy.loseAnswers('insert');
      // A replica set knows a write that it has made, and the client asks again.
      if (own.capabilities.transactions === 'snapshot')
        expect(await insert()).toMatchObject([{ status: 'written', version: 1 }]);
      else await expect(insert()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false });
      expect(await read('lost')).toMatchObject({ version: 1 });
      await proxy.close();
      // A connection that nobody has seen die yet may still have carried it.
      await failure(insert());
      await expect(insert()).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
      await own.pool.close(0);
    });

    test('a query walks the index of its fields', async () => {
      const filter = { t: 't', x: { $gt: new Date() }, $and: [{ 'v.s': { $eq: 'hot' } }] };
      const documents = stored(pool, fixture.url, schema);
      // Of a few documents a planner may well read all.
      const others = Array.from({ length: 3_000 }, (_, i) => ({
        ...{ _id: `t\u001fother${i}`, t: 't', i: `other${i}`, n: 1, v: { s: `s${i}`, n: i } },
        ...{ c: new Date(), u: new Date(), x: new Date('9999-01-01') },
      }));
      await documents.insertMany(others);
      const query = documents.find(filter, { sort: { 'v.n': 1, i: 1 } });
      expect(JSON.stringify(await query.explain('queryPlanner'))).toMatch(/IXSCAN|Index Scan/);
      expect(clientOf(pool).options.writeConcern).toMatchObject({ w: 'majority' });
    });
  });

test('every key has one stored form, and comes back from it', () => {
  expect(hasOddKeys({ a: [{ b: { 'c-d': 1 } }] })).toBe(false);
  assert.deepStrictEqual(decodeKeys(encodeKeys(ODD)), ODD);
  expect(Object.keys(encodeKeys(ODD)!).filter((key) => !key.startsWith('~'))).toEqual(['nested']);
});

function expectPlain(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  expect([Object.prototype, Array.prototype]).toContain(Object.getPrototypeOf(value));
  Object.values(value).forEach(expectPlain);
}
