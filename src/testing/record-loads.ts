/** Loading from a stream: what is written and what is reported, and the bulk way in against the usual one. */
import assert from 'node:assert/strict';
import type * as FastCheck from 'fast-check';
import type { JsonObject, RecordBackend } from '../backends/backend.js';
import { defineCollection } from '../collection/definition.js';
import type { LoadItem } from '../collection/load.js';
import type { LoadReport } from '../collection/load-writer.js';
import { isStorageError } from '../errors.js';
import { seedOf, type PropertyReport } from './record-properties.js';
import { Orders, refusedWith, type Order } from './record-orders.js';
import { collectionOn, contextAt, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import type { DrawOptions, TestRunner } from './runner.js';

type Arbitrary<T> = FastCheck.Arbitrary<T>;

/** Without a constraint: two batches of it may be on their way at once. */
const Plain = defineCollection<Order>({ name: 'test_loaded', fields: { status: 'string', total: 'number' } });

function* orders(count: number, change: (i: number) => Partial<Order> = () => ({})): Generator<LoadItem<Order>> {
  for (let i = 0; i < count; i++) yield { value: { status: 's', total: i, ...change(i) } };
}

export function describeLoads({ describe, test }: TestRunner, opened: () => OpenRecords): void {
  describe('loads', () => {
    const all = (clock?: WallClock) => collectionOn(opened().backend, Orders, freshTenant(), clock);

    // More than one batch, of either way in.
    const many = (): number => (opened().backend.bulkLoad === undefined ? 1_100 : 3_000);

    test('what a constraint and the schema refuse is named, the rest is written', async () => {
      const loaded = all();
      const count = many();
      const last = count - 100;
      const source = orders(count, (i) =>
        [5, 7, last].includes(i) ? { code: 'same' } : i === 400 ? { total: Number.NaN } : {},
      );
      const report = await loaded.load(source);
      assert.deepEqual([report.written, report.failed], [count - 3, 3]);
      assert.deepEqual(
        report.failures.map(({ index, error }) => [index, error.code]),
        [
          [7, 'ALREADY_EXISTS'],
          [400, 'VALIDATION'],
          [last, 'ALREADY_EXISTS'],
        ],
      );
      assert.equal(await loaded.count(), count - 3);
      const { items } = await loaded.list({ limit: 1_000 });
      // None was written twice.
      assert.ok(items.every(({ version }) => version === 1));
      assert.equal((await loaded.query({ code: 'same' })).items[0]?.value.total, 5);
    });

    test('an id that comes again replaces, also within one load', async () => {
      const loaded = all();
      const source = [1, 2, 3].map((total) => ({ id: 'a', value: { status: 's', total } }));
      assert.deepEqual(await loaded.load(source), { written: 3, failed: 0, failures: [] });
      const { version, value } = await loaded.get('a');
      assert.deepEqual([version, value.total], [3, 3]);
    });

    test('expired records are in the way neither by their ids nor by their keys', async () => {
      const clock = new WallClock(NOW);
      const loaded = all(clock);
      for (const [id, code] of [
        ['a', 'x'],
        ['b', 'y'],
      ] as const)
        await loaded.save({ status: 'old', code }, { id, ttl: 1_000 });
      clock.time = new Date(NOW.getTime() + 1_000);
      const report = await loaded.load([
        { id: 'a', value: { status: 'new', code: 'x' } },
        { id: 'c', value: { status: 'new', code: 'y' } },
        { value: { status: 'new', code: 'z' } },
      ]);
      assert.deepEqual(report, { written: 3, failed: 0, failures: [] });
      assert.equal(await loaded.count({ status: 'new' }), 3);
      const { version, createdAt } = await loaded.get('a');
      assert.deepEqual([version, createdAt], [1, clock.time]);
    });

    test('an id that comes again batches later replaces, whichever batch is written first', async () => {
      const loaded = collectionOn(opened().backend, Plain, freshTenant());
      const count = 2 * many();
      // Beyond one batch and within two, so that most ids are in batches that follow each other.
      const ids = Math.ceil(count * 0.45);
      const source = [...orders(count)].map((item, i) => ({ ...item, id: `p${i % ids}` }));
      assert.deepEqual(await loaded.load(source), { written: count, failed: 0, failures: [] });
      const [all] = await loaded.aggregate({}, { numbers: ['total'] });
      const last = (id: number): number => id + Math.floor((count - 1 - id) / ids) * ids;
      const expected = Array.from({ length: ids }, (_, id) => last(id)).reduce((sum, total) => sum + total, 0);
      assert.equal(await loaded.count(), ids);
      assert.equal(all!.numbers.total.sum, expected);
    });

    test('a signal ends it: what is there was told, but for what was on its way', async () => {
      const loaded = collectionOn(opened().backend, Plain, freshTenant());
      const cut = new AbortController();
      let told = 0;
      function* source(): Generator<LoadItem<Order>> {
        for (const item of orders(1_000_000)) {
          if (told > 0) cut.abort();
          yield item;
        }
      }
      const load = loaded.load(source(), { signal: cut.signal, onProgress: ({ written }) => (told = written) });
      await assert.rejects(load, refusedWith('ABORTED'));
      const there = await loaded.count();
      assert.ok(there >= told && there <= told + 2 * 2_500, `${there} records, ${told} told`);
    });

    test('a source that fails ends it; nothing is written any more afterwards', async () => {
      const loaded = collectionOn(opened().backend, Plain, freshTenant());
      const count = 2 * many();
      let told = 0;
      function* source(): Generator<LoadItem<Order>> {
        yield* orders(count);
        throw new Error('no more');
      }
      await assert.rejects(loaded.load(source(), { onProgress: ({ written }) => (told = written) }), /no more/);
      assert.ok(told > 0 && told < count);
      assert.equal(await loaded.count(), told);
    });

    test('in bulk: new ids only, all or none, and what has expired is new', async () => {
      const { backend } = opened();
      if (backend.bulkLoad === undefined) return;
      const scope = { tenant: freshTenant() };
      const later = contextAt(new Date(NOW.getTime() + 1_000));
      await backend.ensure([Orders.schema], later);
      const insert = (id: string, value: JsonObject, more: object = {}) =>
        ({ collection: Orders.schema, kind: 'insert', id, value: { status: 's', ...value }, ...more }) as const;
      const keys = ['a', 'b', 'c', 'd', 'e'].map((id) => ({ collection: Orders.schema, id }));
      const there = async (): Promise<string> =>
        (await backend.read(scope, keys, later)).map((record) => record?.id ?? '-').join('');
      await backend.bulkLoad(
        scope,
        [insert('a', { code: 'x' }), insert('b', { code: 'y' }, { expiresAt: later.now })],
        contextAt(NOW),
      );
      assert.equal(await there(), 'a----');
      const refused = (writes: Parameters<NonNullable<RecordBackend['bulkLoad']>>[1], constraint?: string) =>
        assert.rejects(
          backend.bulkLoad!(scope, writes, later),
          (error) => isStorageError(error, 'ALREADY_EXISTS') && error.details['constraint'] === constraint,
        );
      await refused([insert('c', {}), insert('a', {})]);
      await refused([insert('c', {}), insert('d', { code: 'x' })], 'byCode');
      await refused([insert('c', { code: 'z' }), insert('d', { code: 'z' })], 'byCode');
      assert.equal(await there(), 'a----');
      // The id of one that has expired, and another's key that it held.
      await backend.bulkLoad(scope, [insert('b', {}), insert('c', { code: 'y', note: 'Two Words' })], later);
      assert.equal(await there(), 'abc--');
      await backend.bulkLoad(scope, [], later);
      const found = await collectionOn(backend, Orders, scope.tenant).query({ $text: 'words' });
      assert.deepEqual(
        found.items.map(({ id }) => id),
        ['c'],
      );
    });

    test('in a transaction it is part of it', async () => {
      const { backend } = opened();
      if (backend.capabilities.transactions === 'none') return;
      const tenant = freshTenant();
      await backend.ensure([Orders.schema], contextAt(new Date()));
      const loaded = () => collectionOn(backend, Orders, tenant);
      const work = (source: () => Iterable<LoadItem<Order>>, end?: Error) =>
        backend.pool.transaction({ context: contextAt(new Date()) }, async (session) => {
          const report = await collectionOn(backend, Orders, tenant, undefined, session).load(source());
          assert.equal(report.written, 600);
          if (end !== undefined) throw end;
        });
      await assert.rejects(
        work(() => orders(600), new Error('undone')),
        /undone/,
      );
      assert.equal(await loaded().count(), 0);
      const given = (): LoadItem<Order>[] => [...orders(600)].map((item, i) => ({ ...item, id: `o${i}` }));
      await work(given);
      // The ids are there: what is refused in bulk is replaced, and the transaction goes on.
      await work(given);
      const { items } = await loaded().list({ limit: 2 });
      assert.deepEqual(
        items.map(({ version }) => version),
        [2, 2],
      );
    });
  });
}

const FIELDS = { fields: { code: 'string' }, unique: [{ name: 'byCode', fields: ['code'] }], text: ['note'] } as const;
const Named = defineCollection<Record<string, unknown>>({ name: 'test_load_named', ...FIELDS, id: 'given' });
const Numbered = defineCollection<Record<string, unknown>>({ name: 'test_load_numbered', ...FIELDS, id: 'sequence' });

const HOSTILE = [
  '\\',
  '\\N',
  '\\.',
  '\n',
  '\r\n',
  '\t',
  '\\t',
  '{"a"}',
  'NULL',
  '"',
  "'",
  '\b\f\v',
  '\u2028',
  '\u007f',
];

const CODES = ['x', 'y', '\\N', 'a"\\', null];

/** Random loads over what earlier ones left: the bulk way in reports and leaves what the usual one does. */
export async function compareLoads(backend: RecordBackend, options: DrawOptions): Promise<PropertyReport> {
  const fc = await import('fast-check');
  let cases = 0;
  let nonEmpty = 0;
  if (backend.bulkLoad === undefined) return { cases, nonEmpty };
  const usual = withoutBulk(backend);
  const text = fc.oneof(
    fc.constantFrom(...HOSTILE),
    fc.array(fc.constantFrom(...HOSTILE, 'a', 'é', '😀', 'null words')).map((parts) => parts.join('')),
    fc.string({ unit: 'grapheme' }).map((drawn) => drawn.replaceAll('\0', '')),
  );
  const maybe = <T>(drawn: Arbitrary<T>): Arbitrary<T | undefined> => fc.option(drawn, { nil: undefined });
  const json = fc.oneof(text, fc.dictionary(text, text), fc.array(text));
  const expiry = fc.integer({ min: -1, max: 2 }).map((second) => new Date(NOW.getTime() + second * 1_000));
  const item = (id: Arbitrary<string | undefined>) =>
    fc.record({
      id,
      value: fc.record({
        code: options.keepsUniqueKeys === true ? fc.constant(undefined) : maybe(fc.constantFrom(...CODES)),
        note: maybe(text),
        any: maybe(fc.oneof({ weight: 9, arbitrary: json }, { weight: 1, arbitrary: fc.constant(Number.NaN) })),
      }),
      createdAt: maybe(fc.constantFrom(new Date(0), new Date('0000-01-01'), new Date(Date.UTC(9999, 0, 1)))),
      expiresAt: fc.oneof(fc.constant(undefined), expiry),
    });
  const some = (id: Arbitrary<string | undefined>) => fc.array(item(id), { minLength: 1, maxLength: 8 });
  const loads = (id: Arbitrary<string | undefined>) =>
    fc.array(fc.oneof({ weight: 9, arbitrary: some(id) }, { weight: 1, arbitrary: fc.constant([]) }), {
      minLength: 1,
      maxLength: 3,
    });
  const case$ = fc.oneof(
    fc.record({ collection: fc.constant(Named), steps: loads(fc.constantFrom('a', '\\N', 'b\\', '\\.', 'é"{}')) }),
    fc.record({ collection: fc.constant(Numbered), steps: loads(maybe(fc.constantFrom('1', '3', '20'))) }),
  );
  await fc.assert(
    fc.asyncProperty(case$, async ({ collection, steps }) => {
      const clock = new WallClock(NOW);
      const pair = [backend, usual].map((one) => collectionOn(one, collection, freshTenant(), clock));
      for (const [second, step] of steps.entries()) {
        clock.time = new Date(NOW.getTime() + second * 1_000);
        const items = step.map((drawn) => defined(drawn) as unknown as LoadItem<Record<string, unknown>>);
        const outcome = async (i: number): Promise<unknown> => {
          const report = await pair[i]!.load(items);
          return { report: plainReport(report), records: (await pair[i]!.list({ limit: 1_000 })).items };
        };
        const expected = await outcome(1);
        assert.deepEqual(await outcome(0), expected, JSON.stringify(items));
        cases++;
        if ((expected as { records: unknown[] }).records.length > 0) nonEmpty++;
      }
    }),
    { numRuns: Math.ceil((options.cases ?? 2_000) / 40), ...seedOf(options) },
  );
  return { cases, nonEmpty };
}

function withoutBulk(backend: RecordBackend): RecordBackend {
  return new Proxy(backend, {
    get(target, key) {
      const value: unknown = key === 'bulkLoad' ? undefined : Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function defined(item: object): object {
  return Object.fromEntries(Object.entries(item).filter(([, value]) => value !== undefined));
}

function plainReport({ written, failed, failures }: LoadReport): unknown {
  const shown = failures.map(({ index, id, error }) => [
    index,
    id,
    isStorageError(error) ? [error.code, error.message, error.details['constraint']] : error,
  ]);
  return { written, failed, shown };
}
