/** Records: what goes in comes out, replaced whole, apart by tenant and namespace. */
import assert from 'node:assert/strict';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

const VECTOR = [1, 2, 3];
const ALL = { vector: true, metadata: true, text: true };

/** Ids that paths, quotes, encodings or patterns get wrong. */
const IDS = ['a', '0', "'; drop table x; --", 'a/b?c=d&e#f', '%5B', '\\', '"', 'é', '日本', '😀', ' a b ', '../x', '*'];

const METADATA: Readonly<Record<string, unknown>> = {
  nothing: {},
  'each type': { s: 'x', n: 1.5, i: -3, yes: true, no: false, list: ['b', 'a', 'b'] },
  'empty strings and lists': { s: '', list: [], one: [''] },
  'nested objects': { loc: { from: { line: 1 }, to: 2 }, x: 'y' },
  'names that objects inherit': { constructor: 'a', toString: { valueOf: 'b' }, hasOwnProperty: true },
  'integers at the end of the safe range': { a: 9007199254740991, b: -9007199254740991, c: 0 },
  'small and long fractions': { a: 0.1, b: 1e-7, c: -1.5, d: 0.123456789012345 },
  'strings that look like others': {
    a: '5',
    b: 'true',
    c: 'null',
    d: '[]',
    e: '{"a":1}',
    f: '2026-01-01T00:00:00.000Z',
  },
  'hostile strings': { a: "'; drop table x; --", b: '\\', c: '"', d: '%_', e: '\u0001\n\t', f: '😀\uffff' },
  'hostile keys': { "a'b": 1, 'a"b': 2, 'a b': 3, é: 4, 日本: 5, 'a/b': 6, 'a\\b': 7, '0': 8, tenant: 'x', id: 'y' },
};

export function describeVectorRecords(runner: TestRunner, fixture: () => VectorFixture): void {
  const { describe, test } = runner;
  describe('records', () => {
    test('metadata of every kind come back as they were', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const records = Object.entries(METADATA).map(([id, metadata]) => ({ id, vector: VECTOR, metadata }));
      const { written, failed, failures } = await store.upsert(name, records);
      assert.deepEqual({ written, failed, failures }, { written: records.length, failed: 0, failures: [] });
      await fixture().settle();
      for (const { id, metadata } of records) assert.deepEqual((await store.get(name, id)).metadata, metadata, id);
      assert.equal(await store.count(name), records.length);
    });

    test('declared fields are checked, and dates are Dates', async () => {
      const store = fixture().store();
      const fields = { at: 'date', n: 'number', 'loc.x': 'string', tags: 'string[]', ok: 'boolean' } as const;
      const name = await fixture().collection({ fields });
      const metadata = { at: new Date(5), n: 2, loc: { x: 'y' }, tags: ['t'], ok: false, more: 1 };
      await store.upsert(name, [
        { id: 'a', vector: VECTOR, metadata },
        { id: 'b', vector: VECTOR },
      ]);
      await fixture().settle();
      assert.deepEqual((await store.get(name, 'a')).metadata, metadata);
      assert.deepEqual((await store.get(name, 'b')).metadata, {});
      assert.equal(await store.count(name, { at: { $gte: new Date(5) } }), 1);
      for (const bad of [
        { at: 5 },
        { n: '2' },
        { loc: { x: 1 } },
        { tags: 't' },
        { ok: 0 },
        { loc: { x: { y: 'z' } } },
      ])
        await rejects(store.upsert(name, [{ id: 'a', vector: VECTOR, metadata: bad }]), 'VALIDATION', 'as declared');
    });

    test('ids of every kind, in the order asked for, with gaps', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const long = 'x'.repeat(512);
      await store.upsert(
        name,
        [...IDS, long].map((id) => ({ id, vector: VECTOR, metadata: { was: id } })),
      );
      await fixture().settle();
      const asked = [long, 'missing', ...IDS, 'a'].reverse();
      const found = await store.fetch<{ was: string }>(name, asked);
      assert.deepEqual(
        found.map((record) => record?.metadata?.was),
        asked.map((id) => (id === 'missing' ? undefined : id)),
      );
      assert.deepEqual(await store.fetch(name, []), []);
      await rejects(store.get(name, 'missing'), 'NOT_FOUND', 'missing');
    });

    test('vectors come back as float32, not normalised', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const vector = Float32Array.from([0.1, -2e10, 3e-10]);
      await store.upsert(name, [
        { id: 'a', vector },
        { id: 'b', vector: [...vector] },
      ]);
      await fixture().settle();
      for (const record of await store.fetch(name, ['a', 'b'], { include: { vector: true } }))
        assert.deepEqual([...record!.vector!], [...vector]);
    });

    test('include says what comes back', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await store.upsert(name, [{ id: 'a', vector: VECTOR, metadata: { x: 1 }, text: 'words' }]);
      await fixture().settle();
      assert.deepEqual(await store.get(name, 'a'), { id: 'a', metadata: { x: 1 }, text: 'words' });
      assert.deepEqual(await store.get(name, 'a', { include: { metadata: false, text: false } }), { id: 'a' });
      const whole = { id: 'a', vector: Float32Array.from(VECTOR), metadata: { x: 1 }, text: 'words' };
      const read = await store.get(name, 'a', { include: ALL });
      assert.deepEqual({ ...read, vector: [...read.vector!] }, { ...whole, vector: VECTOR });
      const [hit] = await store.search(name, { vector: VECTOR, include: { metadata: false } });
      assert.deepEqual(Object.keys(hit!).sort(), ['id', 'score', 'text']);
    });

    test('an upsert replaces the whole record', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      await store.upsert(name, [{ id: 'a', vector: VECTOR, metadata: { a: 1, b: 'x', l: ['y'] }, text: 'old' }]);
      await store.upsert(name, [{ id: 'a', vector: [3, 2, 1], metadata: { c: 1 } }]);
      await fixture().settle();
      const read = await store.get(name, 'a', { include: ALL });
      assert.deepEqual({ ...read, vector: [...read.vector!] }, { id: 'a', vector: [3, 2, 1], metadata: { c: 1 } });
      for (const filter of [{ a: 1 }, { b: { $exists: true } }, { l: { $contains: 'y' } }])
        assert.equal(await store.count(name, filter), 0);
      assert.equal(await store.count(name, { c: 1, a: { $exists: false } }), 1);
    });

    test('of several with one id the last is kept', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const versions = Array.from({ length: 5 }, (_, n) => ({ id: 'a', vector: VECTOR, metadata: { n } }));
      assert.equal((await store.upsert(name, versions)).written, 5);
      await fixture().settle();
      assert.deepEqual((await store.get(name, 'a')).metadata, { n: 4 });
    });

    test('what the caller changes afterwards changes nothing', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const record = { id: 'a', vector: [1, 2, 3], metadata: { list: ['x'] } };
      await store.upsert(name, [record]);
      record.vector[0] = 9;
      record.metadata.list.push('y');
      await fixture().settle();
      const first = await store.get<{ list: string[] }>(name, 'a', { include: ALL });
      first.vector![0] = 9;
      first.metadata!.list.push('z');
      const second = await store.get(name, 'a', { include: ALL });
      assert.deepEqual([...second.vector!], [1, 2, 3]);
      assert.deepEqual(second.metadata, { list: ['x'] });
    });

    test('tenants and namespaces are apart', async () => {
      const [one, two] = [fixture().store('one'), fixture().store('two')];
      const name = await fixture().collection();
      const write = (store: typeof one, n: number, namespace?: string) =>
        store.upsert(
          name,
          [{ id: 'same', vector: VECTOR, metadata: { n, tenant: 'two' } }],
          namespace === undefined ? {} : { namespace },
        );
      await write(one, 1);
      await write(two, 2);
      await write(one, 3, 'user.1');
      await write(one, 4, 'user.10');
      await fixture().settle();
      const read = async (store: typeof one, namespace = ''): Promise<unknown> =>
        (await store.get(name, 'same', { namespace })).metadata;
      assert.deepEqual(
        [await read(one), await read(two), await read(one, 'user.1'), await read(one, 'user.10')],
        [1, 2, 3, 4].map((n) => ({ n, tenant: 'two' })),
      );
      const filter = { $or: [{ n: 2, tenant: 'two' }, { tenant: 'two' }], tenant: 'two' };
      const hits = await one.search(name, { vector: VECTOR, filter });
      assert.deepEqual(
        hits.map(({ metadata }) => metadata?.['n']),
        [1],
      );
      assert.equal(await one.count(name), 1);
      assert.equal(await two.count(name, {}, { namespace: 'user.1' }), 0);
      await one.delete(name, { all: true });
      await one.delete(name, ['same'], { namespace: 'user.1' });
      await fixture().settle();
      assert.equal(await one.count(name), 0);
      assert.equal(await two.count(name), 1);
      assert.equal(await one.count(name, {}, { namespace: 'user.10' }), 1);
    });

    test('an iterable is written batch by batch, what cannot be stored is reported', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const total = 2_300;
      async function* source() {
        for (let i = 0; i < total; i++)
          yield { id: `r${i}`, vector: i === 7 ? [1, 2] : i === 2_100 ? [0, 0, 0] : [i + 1, 1, 1] };
      }
      const seen: number[] = [];
      const report = await store.upsert(name, source(), { onProgress: ({ written }) => seen.push(written) });
      assert.deepEqual([report.written, report.failed], [total - 2, 2]);
      assert.deepEqual(
        report.failures.map(({ id, index, error }) => [id, index, error.code]),
        [
          ['r7', 7, 'VALIDATION'],
          ['r2100', 2_100, 'VALIDATION'],
        ],
      );
      assert.ok(seen.length >= 3 && seen.at(-1) === total - 2, 'progress is told after each batch');
      await fixture().settle();
      assert.equal(await store.count(name), total - 2);
    });

    test('an array with one bad record is refused whole', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const records = [
        { id: 'a', vector: VECTOR },
        { id: 'b', vector: [1, NaN, 3] },
      ];
      await rejects(store.upsert(name, records), 'VALIDATION', 'records[1].vector[1]');
      await fixture().settle();
      assert.equal(await store.count(name), 0);
    });

    test('vectors that servers compute differently are refused', async () => {
      const store = fixture().store();
      const name = await fixture().collection();
      const bad = [
        [0, 0, 0],
        [1e-30, 0, 0],
        [1e19, 0, 0],
        [1e39, 0, 0],
        [NaN, 1, 1],
        [Infinity, 1, 1],
        [1, 2],
        [1, 2, 3, 4],
      ];
      for (const vector of bad) {
        await rejects(store.upsert(name, [{ id: 'a', vector }]), 'VALIDATION', 'vector');
        await rejects(store.search(name, { vector }), 'VALIDATION', 'vector');
      }
      assert.equal(await store.count(name), 0);
    });
  });
}
