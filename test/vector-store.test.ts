/** What the vector store makes of its provider: capabilities, schemas that are remembered, batches, transactions. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import type { BeginOperation, OperationContext, Session } from '../src/component.js';
import type { ErrorCode } from '../src/errors.js';
import { memory as memoryPool, type MemoryPool } from '../src/pools/memory.js';
import { memory } from '../src/vectors/memory.js';
import type { VectorCapabilities, VectorProvider } from '../src/vectors/provider.js';
import { VectorStore } from '../src/vectors/vector-store.js';

let pool: MemoryPool;
let provider: VectorProvider;
let names = 0;

beforeAll(async () => {
  pool = memoryPool.create('memory:', { seed: null }, { clock: systemClock, name: 'main' });
  await pool.open();
  provider = memory.create({}, { clock: systemClock, name: 'vectors:memory', pool });
});
afterAll(() => pool.close());

function contextOf(session?: Session): OperationContext {
  return { now: new Date(), deadline: systemClock.monotonic() + 60_000, session };
}

function storeOn(on: VectorProvider, session?: Session, seen?: string[]): VectorStore {
  const begin: BeginOperation = (operation) => {
    seen?.push(operation);
    return { context: contextOf(session), end: () => seen?.push('end') };
  };
  return new VectorStore(on, 'acme', begin, systemClock);
}

/** The memory provider, which says that it can do less. */
function limitedTo(capabilities: Partial<VectorCapabilities>): VectorProvider {
  const value = { ...provider.capabilities, ...capabilities };
  return Object.create(provider, { capabilities: { value } }) as VectorProvider;
}

async function collection(store: VectorStore): Promise<string> {
  const name = `c${++names}`;
  await store.createCollection({ name, dimension: 2, fields: { n: 'number', at: 'date' } });
  return name;
}

const code = (expected: ErrorCode): unknown => expect.objectContaining({ code: expected });

describe('what the provider says it has not is refused', () => {
  test.each<[string, Partial<VectorCapabilities>, (store: VectorStore, name: string) => Promise<unknown>]>([
    ['a metric', { metrics: ['cosine'] }, (s) => s.createCollection({ name: 'x', dimension: 2, metric: 'dot' })],
    ['a dimension', { maxDimension: 4 }, (s) => s.createCollection({ name: 'x', dimension: 5 })],
    ['sparse vectors', { sparse: false }, (s) => s.createCollection({ name: 'x', dimension: 2, sparse: true })],
    ['exact search', { exact: false }, (s, name) => s.search(name, { vector: [1, 0], exact: true })],
    ['a large topK', { maxTopK: 50 }, (s, name) => s.search(name, { vector: [1, 0], topK: 51 })],
    [
      'its own writes at once',
      { consistency: 'eventual' },
      (s, name) => s.search(name, { vector: [1, 0], consistency: 'session' }),
    ],
    [
      'ranges over strings',
      { operators: { stringRange: false, notRange: 'always' } },
      (s, name) => s.count(name, { $or: [{ n: 1 }, { s: { $gt: 'a' } }] }),
    ],
    [
      'the negation of a range',
      { operators: { stringRange: true, notRange: 'never' } },
      (s, name) => s.list(name, { filter: { $not: { n: { $gt: 1 } } } }),
    ],
    [
      'the negation of an undeclared range',
      { operators: { stringRange: true, notRange: 'declared' } },
      (s, name) => s.delete(name, { filter: { $not: { other: { $gt: 1 } } } }),
    ],
  ])('%s', async (_name, capabilities, act) => {
    const name = await collection(storeOn(provider));
    const store = storeOn(limitedTo(capabilities));
    await expect(act(store, name)).rejects.toEqual(code('UNSUPPORTED'));
  });

  test('and what it has under conditions is answered', async () => {
    const name = await collection(storeOn(provider));
    const store = storeOn(limitedTo({ operators: { stringRange: false, notRange: 'declared' } }));
    await store.upsert(name, [{ id: 'a', vector: [1, 0], metadata: { n: 1, at: new Date(5) } }]);
    expect(await store.count(name, { $not: { n: { $gt: 1 }, at: { $gt: new Date(9) } } })).toBe(1);
    expect(await store.count(name, { $not: { $not: { other: { $gt: 1 } } } })).toBe(0);
  });
});

test('a filter that is decided answers without asking the provider', async () => {
  const name = await collection(storeOn(provider));
  const refusing = (): never => {
    throw new Error('was asked');
  };
  const deaf = Object.create(provider, {
    search: { value: refusing },
    list: { value: refusing },
    count: { value: refusing },
    delete: { value: refusing },
  }) as VectorProvider;
  const store = storeOn(deaf);
  const filter = { n: { $in: [] } };
  expect(await store.search(name, { vector: [1, 0], filter })).toEqual([]);
  expect(await store.list(name, { filter })).toEqual({ items: [] });
  expect(await store.count(name, filter)).toBe(0);
  expect(await store.delete(name, { filter })).toEqual({ deleted: 0 });
  await expect(store.count(name)).rejects.toThrow('was asked');
});

test('a sparse vector that cannot be kept or looked for is refused without asking the provider', async () => {
  const name = await collection(storeOn(provider));
  const refusing = (): never => {
    throw new Error('was asked');
  };
  const methods = ['createCollection', 'upsert', 'search'].map((method) => [method, { value: refusing }] as const);
  const deaf = Object.create(limitedTo({ sparse: false }), Object.fromEntries(methods)) as VectorProvider;
  const store = storeOn(deaf);
  const sparse = { indices: [1], values: [1] };
  const refused = expect.objectContaining({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('sparse') as unknown,
  });
  await expect(store.createCollection({ name: 'x', dimension: 2, sparse: true })).rejects.toEqual(refused);
  await expect(store.upsert(name, [{ id: 'a', vector: [1, 0], sparse }])).rejects.toEqual(refused);
  await expect(store.search(name, { vector: [1, 0], sparse })).rejects.toEqual(refused);
  await expect(store.search(name, { vector: [1, 0] })).rejects.toThrow('was asked');
});

test('hits are put in order, ties by code point, whatever the order the provider gives them in', async () => {
  const name = await collection(storeOn(provider));
  const scored = [
    { id: '\u{1f600}', score: 0.5 },
    { id: 'low', score: -1 },
    { id: '\ue000', score: 0.5 },
    { id: 'a', score: 0.5 },
    { id: 'top', score: 1 },
  ];
  const shuffled = Object.create(provider, { search: { value: () => Promise.resolve(scored) } }) as VectorProvider;
  const hits = await storeOn(shuffled).search(name, { vector: [1, 0], minScore: 0.5 });
  expect(hits.map(({ id }) => id)).toEqual(['top', 'a', '\ue000', '\u{1f600}']);
});

test('every operation is begun and ended, also when it fails', async () => {
  const seen: string[] = [];
  const store = storeOn(provider, undefined, seen);
  const name = await collection(store);
  await store.count(name);
  await expect(store.search(name, { vector: [1] })).rejects.toEqual(code('VALIDATION'));
  await expect(store.get(name, 'a')).rejects.toEqual(code('NOT_FOUND'));
  expect(seen.filter((step) => step === 'end')).toHaveLength(seen.length / 2);
  expect(seen.filter((step) => step !== 'end')).toEqual(['createCollection', 'count', 'search', 'fetch']);
});

test('a collection that another process made anew is looked up again', async () => {
  const store = storeOn(provider);
  const name = await collection(store);
  await store.upsert(name, [{ id: 'a', vector: [1, 0] }]);
  // Past the store, as another process does it.
  await provider.deleteCollection(name, contextOf());
  const schema = { name, dimension: 3, metric: 'dot', fields: {}, index: { kind: 'none' } } as const;
  await provider.createCollection(schema, contextOf());
  await expect(store.upsert(name, [{ id: 'a', vector: [1, 0] }])).rejects.toEqual(
    expect.objectContaining({ code: 'CONFLICT', retryable: true }),
  );
  expect((await store.upsert(name, [{ id: 'a', vector: [1, 2, 3] }])).written).toBe(1);
  expect(await store.search(name, { vector: [1, 1, 1] })).toEqual([{ id: 'a', metadata: {}, score: 6 }]);
  await provider.deleteCollection(name, contextOf());
  await provider.createCollection({ ...schema, dimension: 4 }, contextOf());
  // Nothing tells that the collection is another one, but that the input does not fit.
  expect(await store.search(name, { vector: [1, 0, 0, 0] })).toEqual([]);
  await provider.deleteCollection(name, contextOf());
  await provider.createCollection(schema, contextOf());
  expect((await store.upsert(name, [{ id: 'a', vector: [1, 2, 3] }])).written).toBe(1);
  await provider.deleteCollection(name, contextOf());
  await expect(store.count(name)).rejects.toEqual(code('NOT_FOUND'));
});

test('a stream is read no faster than it is written', async () => {
  const sizes: number[] = [];
  let read = 0;
  const counting = Object.create(provider, {
    capabilities: { value: { ...provider.capabilities, maxBatch: 10 } },
    upsert: {
      value: async (...args: Parameters<VectorProvider['upsert']>) => {
        // The record that fills a batch is not known to be its last until the next one is read.
        expect(read).toBeLessThanOrEqual(sizes.length * 10 + args[2].length + 1);
        sizes.push(args[2].length);
        return { token: `t${sizes.length}`, ...(await provider.upsert(...args)) };
      },
    },
  }) as VectorProvider;
  const store = storeOn(counting);
  const name = await collection(store);
  function* source() {
    for (let i = 0; i < 25; i++) {
      read++;
      yield { id: `r${i}`, vector: [1, i] };
    }
  }
  expect(await store.upsert(name, source())).toEqual({ written: 25, failed: 0, failures: [], token: 't3' });
  expect(sizes).toEqual([10, 10, 5]);
});

test('a stream that gives a few ids again and again is written as it comes, and the last of each is kept', async () => {
  const sizes: number[] = [];
  let read = 0;
  const counting = Object.create(provider, {
    upsert: {
      value: (...args: Parameters<VectorProvider['upsert']>) => {
        expect(read).toBeLessThanOrEqual((sizes.length + 1) * 1_000 + 1);
        sizes.push(args[2].length);
        return provider.upsert(...args);
      },
    },
  }) as VectorProvider;
  const store = storeOn(counting);
  const name = await collection(store);
  function* source() {
    for (let i = 0; i < 5_000; i++) {
      read++;
      yield { id: `r${i % 10}`, vector: [1, i], metadata: { n: i } };
    }
  }
  expect(await store.upsert(name, source())).toEqual({ written: 5_000, failed: 0, failures: [] });
  expect(sizes).toEqual([10, 10, 10, 10, 10]);
  expect((await store.list<{ n: number }>(name)).items.map(({ metadata }) => metadata?.n)).toEqual([
    4_990, 4_991, 4_992, 4_993, 4_994, 4_995, 4_996, 4_997, 4_998, 4_999,
  ]);
  const text = 'x'.repeat(1_000_000);
  sizes.length = 0;
  read = 0;
  await store.upsert(
    name,
    (function* () {
      for (let i = 0; i < 20; i++) yield { id: 'same', vector: [1, i], text };
    })(),
  );
  expect(sizes).toEqual([1, 1, 1]);
});

test('the report of a stream counts every record that cannot be stored, and shows a hundred', async () => {
  const store = storeOn(provider);
  const name = await collection(store);
  function* source() {
    for (let i = 0; i < 250; i++) yield { id: `r${i}`, vector: i % 5 === 0 ? [1, i] : [1] };
    yield { vector: [1, 1] };
  }
  const { written, failed, failures } = await store.upsert(
    name,
    source() as Iterable<{ id: string; vector: number[] }>,
  );
  expect([written, failed, failures.length]).toEqual([50, 201, 100]);
  expect(failures[0]).toEqual({ index: 1, id: 'r1', error: code('VALIDATION') });
  expect(failures[99]!.index).toBe(124);
});

describe('in a transaction of the pool', () => {
  test('what is written is seen inside, and outside after the commit', async () => {
    const store = storeOn(provider);
    const name = await collection(store);
    await pool.transaction({ context: contextOf() }, async (session) => {
      const inside = storeOn(provider, session);
      await inside.upsert(name, [{ id: 'a', vector: [1, 0], metadata: { n: 1 } }]);
      expect(await inside.search(name, { id: 'a' })).toHaveLength(1);
      expect(await store.count(name)).toBe(0);
    });
    expect(await store.count(name, { n: 1 })).toBe(1);
  });

  test('an error undoes everything, the collection included', async () => {
    const store = storeOn(provider);
    let name = '';
    const work = pool.transaction({ context: contextOf() }, async (session) => {
      const inside = storeOn(provider, session);
      name = await collection(inside);
      await inside.upsert(name, [{ id: 'a', vector: [1, 0] }]);
      throw new Error('no');
    });
    await expect(work).rejects.toThrow('no');
    await expect(store.upsert(name, [{ id: 'a', vector: [1, 0] }])).rejects.toEqual(code('NOT_FOUND'));
  });

  test('two that read what the other writes do not both commit', async () => {
    const store = storeOn(provider);
    const name = await collection(store);
    const fill = (id: string): Promise<unknown> =>
      pool.transaction({ context: contextOf() }, async (session) => {
        const inside = storeOn(provider, session);
        if ((await inside.count(name, { n: 1 })) === 0)
          await inside.upsert(name, [{ id, vector: [1, 0], metadata: { n: 1 } }]);
      });
    const outcomes = await Promise.allSettled([fill('a'), fill('b')]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await store.count(name)).toBe(1);
  });
});

test('the memory provider asks for a memory database', () => {
  expect(() => memory.create({}, { clock: systemClock, name: 'vectors:memory' })).toThrow(/memory:/);
});
