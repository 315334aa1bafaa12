import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { isStorageError } from '../src/errors.js';
import type { Pool } from '../src/pools/pool.js';
import { pgvector } from '../src/vectors/pgvector.js';
import type { VectorIndex } from '../src/vectors/provider.js';
import {
  A,
  compiled,
  context,
  equal,
  everything,
  field,
  nothing,
  openProvider,
  record,
  schemaOf,
  searchFor,
  tableOf,
  type Opened,
} from './support/pgvector/fixture.js';

let opened: Opened;
beforeAll(async () => {
  opened = await openProvider();
});
afterAll(() => opened.close());

const code = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (isStorageError(error) ? error.code : error),
  );

describe('collections', () => {
  test('are made once by ten racers, and described as they were declared', async () => {
    const { provider } = opened;
    const schema = schemaOf('raced', 3, { fields: { kind: 'string', 'loc.page': 'number', tags: 'string[]' } });
    await Promise.all(Array.from({ length: 10 }, () => provider.createCollection(schema, context())));
    expect(await provider.listCollections(context())).toEqual(['raced']);
    expect(await provider.describeCollection('raced', context())).toEqual(schema);
    expect(await provider.describeCollection('other', context())).toBeUndefined();
  });

  test('are deleted where somebody has dropped their table', async () => {
    const { provider, pool } = opened;
    const schema = schemaOf('bereft', 3);
    await provider.createCollection(schema, context());
    await pool.script(`DROP TABLE ${await tableOf(provider, 'bereft')}`, context());
    expect(await provider.deleteCollection('bereft', context())).toBe(true);
    await provider.createCollection(schema, context());
    expect(await provider.deleteCollection('bereft', context())).toBe(true);
  });

  test('refuse another declaration, and say what differs', async () => {
    const { provider } = opened;
    const made = schemaOf('declared', 3, { fields: { kind: 'string', at: 'date' } });
    await provider.createCollection(made, context());
    await provider.createCollection({ ...made, fields: { at: 'date', kind: 'string' } }, context());
    const other = { ...made, dimension: 4, metric: 'dot' as const };
    await expect(provider.createCollection(other, context())).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(/dimension, metric/) as unknown,
      details: { collection: 'declared', differs: ['dimension', 'metric'] },
    });
    await expect(provider.createCollection({ ...made, fields: { kind: 'number' } }, context())).rejects.toMatchObject({
      message:
        'The vector collection declared is declared with other values of fields.at, fields.kind: delete it and write it anew, or make one of another name',
      details: { differs: ['fields'], fields: ['at', 'kind'] },
    });
    await expect(
      provider.createCollection({ ...made, index: { kind: 'hnsw', m: 8 } }, context()),
    ).rejects.toMatchObject({ details: { differs: ['index'] } });
  });

  test('are deleted with their records', async () => {
    const { provider } = opened;
    const schema = schemaOf('deleted', 2);
    await provider.createCollection(schema, context());
    await provider.upsert(schema, A, [record('x', [1, 0])], context());
    expect(await provider.deleteCollection('deleted', context())).toBe(true);
    expect(await provider.deleteCollection('deleted', context())).toBe(false);
    await provider.createCollection(schema, context());
    expect(await provider.count(schema, A, undefined, context())).toBe(0);
  });

  test('that are not there are NOT_FOUND to every operation', async () => {
    const { provider } = opened;
    const gone = schemaOf('gone', 2);
    const calls = [
      provider.upsert(gone, A, [record('x', [1, 0])], context()),
      provider.fetch(gone, A, ['x'], everything, context()),
      provider.list(gone, A, { limit: 1, include: nothing }, context()),
      provider.count(gone, A, undefined, context()),
      provider.delete(gone, A, { all: true }, context()),
      provider.search(gone, A, searchFor([1, 0], 1), context()),
      provider.search(gone, A, searchFor([1, 0], 1, { exact: true }), context()),
    ];
    expect(await Promise.all(calls.map(code))).toEqual(calls.map(() => 'NOT_FOUND'));
  });

  test('take every kind of index, and refuse what is not offered', async () => {
    const { provider } = opened;
    const of = (name: string, dimension: number, index: VectorIndex) => schemaOf(name, dimension, { index });
    for (const schema of [
      of('by-hnsw', 2_000, { kind: 'hnsw', m: 4, efConstruction: 16 }),
      of('by-ivfflat', 3, { kind: 'ivfflat', lists: 2, probes: 2 }),
      of('by-none', 16_000, { kind: 'none' }),
    ]) {
      await provider.createCollection(schema, context());
      const vector = Array.from({ length: schema.dimension }, (_x, i) => (i + 1) / schema.dimension);
      // The longest key there is: with 2,000 dimensions the row must still fit its page.
      const scope = { tenant: 't'.repeat(128), namespace: 'n'.repeat(255) };
      const stored = record('é'.repeat(256), vector, { text: 'x'.repeat(30_000) }, 'y'.repeat(100_000));
      await provider.upsert(schema, scope, [stored, record('b', vector)], context());
      const request = searchFor(vector, 2, { include: everything });
      const hits = await provider.search(schema, scope, request, context());
      expect(hits.map(({ id }) => id).sort()).toEqual(['b', stored.id]);
      expect(hits.find(({ id }) => id === stored.id)).toEqual({ ...stored, score: expect.closeTo(1, 4) as unknown });
    }
    const refused = [
      of('lists', 2_001, { kind: 'ivfflat' }),
      of('halves', 4_001, { kind: 'hnsw', quantize: 'half' }),
      { ...of('signs', 4_001, { kind: 'hnsw' }), metric: 'dot' as const },
    ];
    for (const schema of refused) expect(await code(provider.createCollection(schema, context()))).toBe('UNSUPPORTED');
    expect(await provider.listCollections(context())).toEqual(expect.not.arrayContaining(['lists', 'halves', 'signs']));
  });

  test('search texts by a language that the server has', async () => {
    const { provider } = opened;
    const of = (name: string, language: string) => schemaOf(name, 2, { text: { language } });
    expect(await code(provider.createCollection(of('klingon', 'klingon'), context()))).toBe('UNSUPPORTED');
    expect(await provider.describeCollection('klingon', context())).toBeUndefined();
    // Statements would not find it by its name.
    await opened.pool.query('CREATE SCHEMA other', [], context());
    const elsewhere = 'CREATE TEXT SEARCH CONFIGURATION other.elsewhere (COPY = pg_catalog.english)';
    await opened.pool.query(elsewhere, [], context());
    expect(await code(provider.createCollection(of('elsewhere', 'elsewhere'), context()))).toBe('UNSUPPORTED');
    const schema = of('english', 'english');
    await provider.createCollection(schema, context());
    await provider.upsert(schema, A, [record('x', [1, 0], {}, 'The dogs were running')], context());
    const request = { words: ['run', 'dog'], topK: 5, include: nothing, consistency: 'eventual' } as const;
    expect((await provider.searchText!(schema, A, request, context())).map(({ id }) => id)).toEqual(['x']);
    expect(await provider.searchText!(schema, A, { ...request, words: ['cat'] }, context())).toEqual([]);
  });

  test('take long texts in declared fields', async () => {
    const { provider } = opened;
    const schema = schemaOf('long', 2, { fields: { title: 'string', tags: 'string[]' } });
    await provider.createCollection(schema, context());
    // Incompressible, so that no index entry can shrink it under its limit of 2,704 bytes.
    const long = Array.from({ length: 9_000 }, (_x, i) => String.fromCodePoint(0x4e00 + ((i * 7_919) % 20_000))).join(
      '',
    );
    await provider.upsert(schema, A, [record('x', [1, 0], { title: long, tags: [long.slice(1)] })], context());
    expect(await provider.count(schema, A, equal('title', long), context())).toBe(1);
    const from = compiled({ op: 'gte', field: field('title'), value: long });
    expect(await provider.count(schema, A, from, context())).toBe(1);
  });
});

describe('records', () => {
  const schema = schemaOf('records', 3);
  beforeAll(() => opened.provider.createCollection(schema, context()));

  test('come back as they were given, in the order of the ids asked for', async () => {
    const { provider } = opened;
    const scope = { tenant: 'crud', namespace: 'n' };
    const records = [
      record(
        'b',
        [0.1, -3e-12, 4e20],
        { n: 0.1, s: `quote ' " \\ {},NULL`, b: false, l: ['', 'x', 'x'], e: [] },
        'a\n"t"',
      ),
      record('NULL', [1, 0, 0], { constructor: 'c', '0': 1.7976931348623157e308, '': 'empty key' }),
      record('😀', [0, 1, 0], {}, ''),
    ];
    await provider.upsert(schema, scope, records, context());
    const found = await provider.fetch(schema, scope, ['😀', 'absent', 'b', 'NULL', 'b'], everything, context());
    expect(found).toEqual([records[2], undefined, records[0], records[1], records[0]]);
    expect(await provider.fetch(schema, scope, ['b'], nothing, context())).toEqual([{ id: 'b' }]);
    expect(await provider.fetch(schema, { ...scope, namespace: '' }, ['b'], nothing, context())).toEqual([undefined]);
  });

  test('are replaced whole', async () => {
    const { provider } = opened;
    await provider.upsert(schema, A, [record('x', [1, 0, 0], { a: 1, b: 'x' }, 'text')], context());
    await provider.upsert(schema, A, [record('x', [0, 1, 0], { c: 1 })], context());
    expect(await provider.fetch(schema, A, ['x'], everything, context())).toEqual([record('x', [0, 1, 0], { c: 1 })]);
  });

  test('are listed page by page in the order of code points', async () => {
    const { provider } = opened;
    const scope = { tenant: 'listed', namespace: '' };
    const ids = ['B', 'a', 'é', '\uffff', '😀'];
    const records = ids.map((id, i) => record(id, [1, 0, 0], { even: i % 2 === 0 }));
    await provider.upsert(schema, scope, records.reverse(), context());
    const listed: string[][] = [];
    let after: string | undefined;
    do {
      const request = { limit: 2, include: nothing, ...(after === undefined ? {} : { after }) };
      const page = await provider.list(schema, scope, request, context());
      listed.push(page.items.map(({ id }) => id));
      after = page.next;
    } while (after !== undefined);
    expect(listed).toEqual([['B', 'a'], ['é', '\uffff'], ['😀']]);
    const even = { limit: 9, include: nothing, filter: equal('even', true) };
    expect((await provider.list(schema, scope, even, context())).items).toEqual([
      { id: 'B' },
      { id: 'é' },
      { id: '😀' },
    ]);
  });

  test('are deleted by ids, by filter and all, within their scope alone', async () => {
    const { provider } = opened;
    const scopes = ['d1', 'd2'].flatMap((tenant) => ['', 'n'].map((namespace) => ({ tenant, namespace })));
    const records = ['a', 'b', 'c', 'd'].map((id, i) => record(id, [1, i, 0], { i }));
    for (const scope of scopes) await provider.upsert(schema, scope, records, context());
    const scope = scopes[0]!;
    expect(await provider.delete(schema, scope, { ids: ['a', 'nope'] }, context())).toEqual({ deleted: 1 });
    expect(await provider.delete(schema, scope, { filter: equal('i', 1) }, context())).toEqual({ deleted: 1 });
    expect(await provider.delete(schema, scope, { ids: [] }, context())).toEqual({ deleted: 0 });
    expect(await provider.delete(schema, scope, { all: true }, context())).toEqual({ deleted: 2 });
    const counts = await Promise.all(scopes.map((each) => provider.count(schema, each, undefined, context())));
    expect(counts).toEqual([0, 4, 4, 4]);
  });

  test('overlapping upserts at once leave each record whole', async () => {
    const { provider } = opened;
    const scope = { tenant: 'overlap', namespace: '' };
    const ids = Array.from({ length: 50 }, (_x, i) => `r${i}`);
    const batch = (writer: number) => {
      const order = writer % 2 === 0 ? ids : [...ids].reverse();
      return order.map((id) => record(id, [writer + 1, 0, 1], { writer }, `by ${writer}`));
    };
    const writers = Array.from({ length: 8 }, (_x, writer) => writer);
    await Promise.all(writers.map((writer) => provider.upsert(schema, scope, batch(writer), context())));
    const found = await provider.fetch(schema, scope, ids, everything, context());
    for (const one of found) {
      const writer = one?.metadata?.['writer'] as number;
      expect(one).toEqual(record(one!.id, [writer + 1, 0, 1], { writer }, `by ${writer}`));
    }
  });
});

describe('transactions', () => {
  const schema = schemaOf('in-transactions', 2);
  beforeAll(() => opened.provider.createCollection(schema, context()));

  test('see their own writes, and undo them when they fail', async () => {
    const { pool, provider } = opened;
    await provider.upsert(schema, A, [record('kept', [1, 0])], context());
    const failure = new Error('undo');
    const transaction = pool.transaction({ context: context() }, async (session) => {
      const inside = context({ session });
      await provider.upsert(schema, A, [record('new', [0, 1]), record('kept', [0, -1])], inside);
      const hits = await provider.search(schema, A, searchFor([0, 1], 5), inside);
      expect(hits.map(({ id }) => id)).toEqual(['new', 'kept']);
      throw failure;
    });
    await expect(transaction).rejects.toBe(failure);
    expect(await provider.fetch(schema, A, ['new', 'kept'], everything, context())).toEqual([
      undefined,
      record('kept', [1, 0]),
    ]);
  });

  test('make collections, or do not', async () => {
    const { pool, provider } = opened;
    const made = schemaOf('made-inside', 2);
    const make = (fail: boolean) =>
      pool.transaction({ context: context() }, async (session) => {
        await provider.createCollection(made, context({ session }));
        await provider.upsert(made, A, [record('x', [1, 0])], context({ session }));
        if (fail) throw new Error('undo');
      });
    await expect(make(true)).rejects.toThrow('undo');
    expect(await provider.describeCollection('made-inside', context())).toBeUndefined();
    await make(false);
    expect(await provider.count(made, A, undefined, context())).toBe(1);
  });

  test('that failed earlier give that failure, not NOT_FOUND', async () => {
    const { pool, provider } = opened;
    const seen: unknown[] = [];
    const transaction = pool.transaction({ context: context() }, async (session) => {
      const inside = context({ session });
      seen.push(await code(pool.query('SELECT * FROM no_such_table', [], inside)));
      seen.push(await code(provider.count(schema, A, undefined, inside)));
    });
    expect(await code(transaction)).toBe('INTERNAL');
    expect(seen).toEqual(['INTERNAL', 'INTERNAL']);
  });

  test('keep no setting of a search after their end', async () => {
    const { pool, provider } = opened;
    await provider.search(schema, A, searchFor([1, 0], 500), context());
    const { rows } = await pool.query(`SELECT current_setting('hnsw.ef_search') AS ef`, [], context());
    expect(rows).toEqual([{ ef: '40' }]);
  });
});

describe('the provider', () => {
  const create = (pool?: Pool) => (): unknown =>
    pgvector.create({ efSearch: 100 }, { clock: systemClock, name: 'vectors:pgvector', ...(pool && { pool }) });

  test('refuses a database that is not PostgreSQL, and says what to configure', () => {
    expect(create()).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    expect(create({ ...opened.pool, dialect: 'sqlite' } as unknown as Pool)).toThrow(/vectors\.pgvector\.database/);
  });
});
