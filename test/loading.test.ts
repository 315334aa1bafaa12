/** Sources that hang, fail or are not read to their end: the load of records and the writing of vectors, each on memory. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection } from '../src/index.js';
import type { ErrorCode } from '../src/errors.js';
import { ConflictError } from '../src/errors.js';
import { BulkAttempts } from '../src/loading/bulk.js';
import { systemClock, type Clock } from '../src/clock.js';
import { StorageManager } from '../src/manager.js';
import { registry } from '../src/registry.js';
import { loadSettings } from '../src/settings.js';
import { ManualClock } from './support/manual-clock.js';

interface Item {
  readonly id: string;
  readonly value: { readonly n: number };
  readonly vector: number[];
}

interface Options {
  readonly signal?: AbortSignal;
  readonly timeout?: number;
  readonly onProgress?: () => void;
}

type Items = Iterable<Item> | AsyncIterable<Item>;

const Things = defineCollection<{ readonly n: number }>({ name: 'loading_things', id: 'given' });
const code = (expected: ErrorCode): unknown => expect.objectContaining({ code: expected });

let storage: StorageManager;

async function open(clock: Clock = systemClock): Promise<StorageManager> {
  const overrides = { databases: { main: 'memory:' }, vectors: { default: 'memory' } };
  const settings = await loadSettings({ registry, environment: {}, overrides });
  const opened = new StorageManager({ registry, settings, clock });
  await opened.open();
  await opened.vectors().createCollection({ name: 'loading', dimension: 2 });
  return opened;
}

beforeAll(async () => {
  storage = await open();
});
afterAll(() => storage.close());

const item = (i: number): Item => ({ id: `i${i}`, value: { n: i }, vector: [1, i] });

const WAYS: readonly [
  string,
  (items: Items, options?: Options, on?: StorageManager) => Promise<{ written: number }>,
][] = [
  [
    'records',
    (items, options, on = storage) =>
      on.collection(Things).load(
        each(items, ({ id, value }) => ({ id, value })),
        options,
      ),
  ],
  [
    'vectors',
    (items, options, on = storage) =>
      on.vectors().load(
        'loading',
        each(items, ({ id, vector }) => ({ id, vector })),
        options,
      ),
  ],
];

/** The same source with its items changed: its `return` is passed on. */
function each<T, R>(items: Iterable<T> | AsyncIterable<T>, change: (item: T) => R): Iterable<R> | AsyncIterable<R> {
  const changed = (result: IteratorResult<T>): IteratorResult<R> =>
    result.done === true ? { done: true, value: undefined } : { done: false, value: change(result.value) };
  if (Symbol.asyncIterator in items) {
    const source = items[Symbol.asyncIterator]();
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => changed(await source.next()),
        return: async () => changed((await source.return?.()) ?? { done: true, value: undefined }),
      }),
    };
  }
  const source = items[Symbol.iterator]();
  return {
    [Symbol.iterator]: () => ({
      next: () => changed(source.next()),
      return: () => changed(source.return?.() ?? { done: true, value: undefined }),
    }),
  };
}

/** Gives so many items, then nothing more, ever. */
class Hanging implements AsyncIterable<Item> {
  returned = 0;
  /** Resolves when it hangs. */
  readonly hangs: Promise<void>;
  private onHang!: () => void;

  constructor(private readonly count: number) {
    this.hangs = new Promise((resolve) => (this.onHang = resolve));
  }

  [Symbol.asyncIterator](): AsyncIterator<Item> {
    let given = 0;
    return {
      next: () => {
        if (given < this.count) return Promise.resolve({ done: false, value: item(given++) });
        this.onHang();
        return new Promise(() => undefined);
      },
      return: () => {
        this.returned++;
        return new Promise(() => undefined);
      },
    };
  }
}

describe.each(WAYS)('%s', (_name, load) => {
  test('a source that hangs does not hold a load whose signal is aborted', async () => {
    const source = new Hanging(3);
    const cut = new AbortController();
    const loading = load(source, { signal: cut.signal });
    await source.hangs;
    cut.abort();
    await expect(loading).rejects.toEqual(code('ABORTED'));
    expect(source.returned).toBe(1);
  });

  test('nor one whose deadline passed', async () => {
    const source = new Hanging(3);
    await expect(load(source, { timeout: 30 })).rejects.toEqual(code('TIMEOUT'));
    expect(source.returned).toBe(1);
  });

  test('nor one under which the manager is closed', async () => {
    const source = new Hanging(3);
    const closed = await open();
    const loading = load(source, {}, closed);
    const refused = expect(loading).rejects.toEqual(code('CLOSED'));
    await source.hangs;
    await closed.close({ deadline: 100 });
    await refused;
    expect(source.returned).toBe(1);
  });

  test('a source that gives nothing that can be stored ends with the signal, whether it waits or not', async () => {
    let closed = 0;
    function* refused(): Generator<Item> {
      try {
        for (;;) yield { ...item(0), id: '' };
      } finally {
        closed++;
      }
    }
    async function* waiting(): AsyncGenerator<Item> {
      yield* refused();
    }
    for (const source of [refused(), waiting()]) {
      const cut = new AbortController();
      const loading = load(source, { signal: cut.signal });
      setTimeout(() => cut.abort(), 20);
      await expect(loading).rejects.toEqual(code('ABORTED'));
    }
    expect(closed).toBe(2);
  });

  test('nor one of a transaction whose deadline passed', async () => {
    const source = new Hanging(0);
    let loading: Promise<unknown> | undefined;
    const transaction = storage.transaction(
      async (tx) => (loading = tx.collection(Things).load(each(source, ({ id, value }) => ({ id, value })))),
      { timeout: 30 },
    );
    await expect(transaction).rejects.toEqual(code('TIMEOUT'));
    await expect(loading).rejects.toEqual(code('TIMEOUT'));
    expect(source.returned).toBe(1);
  });

  test('nor one that cannot write a batch', async () => {
    // More than a batch of either.
    const source = new Hanging(2_600);
    const onProgress = (): void => {
      throw new Error('no more');
    };
    await expect(load(source, { onProgress })).rejects.toThrow('no more');
    expect(source.returned).toBe(1);
  });

  test('a source that is slower than its batches may take, but not for one item, is read to its end', async () => {
    const clock = new ManualClock();
    await using timed = await open(clock);
    async function* source(): AsyncGenerator<Item> {
      for (let i = 0; i < 6; i++) {
        await clock.advance(20);
        yield item(i);
      }
    }
    expect((await load(source(), { timeout: 100 }, timed)).written).toBe(6);
  });

  test('a source that is not read to its end is told', async () => {
    const ends: string[] = [];
    function* sync(): Generator<Item> {
      try {
        for (let i = 0; ; i++) yield item(i);
      } finally {
        ends.push('sync');
      }
    }
    async function* async(): AsyncGenerator<Item> {
      try {
        for (let i = 0; ; i++) yield item(i);
      } finally {
        ends.push('async');
      }
    }
    for (const source of [sync(), async()]) {
      const cut = new AbortController();
      await expect(load(source, { signal: cut.signal, onProgress: () => cut.abort() })).rejects.toEqual(
        code('ABORTED'),
      );
    }
    expect(ends).toEqual(['sync', 'async']);
  });

  test('one that ends or fails is not told again', async () => {
    let returned = 0;
    const source = (end: () => IteratorResult<Item>): Iterable<Item> => ({
      [Symbol.iterator]: () => ({ next: end, return: () => ({ done: true, value: returned++ }) }),
    });
    expect((await load(source(() => ({ done: true, value: undefined })))).written).toBe(0);
    const failing = source(() => {
      throw new Error('no items');
    });
    await expect(load(failing)).rejects.toThrow('no items');
    expect(returned).toBe(0);
  });
});

test('after a refusal one batch more each time is not tried in bulk', async () => {
  const bulk = new BulkAttempts();
  let tried = 0;
  const refuse = async (): Promise<void> => {
    tried++;
    throw new ConflictError('ALREADY_EXISTS', 'there');
  };
  const trials: number[] = [];
  for (let batch = 0; batch < 10; batch++) {
    expect(await bulk.write(refuse)).toBe(false);
    trials.push(tried);
  }
  expect(trials).toEqual([1, 1, 2, 2, 2, 3, 3, 3, 3, 4]);
  await expect(new BulkAttempts().write(() => Promise.reject(new Error('lost')))).rejects.toThrow('lost');
  expect(await new BulkAttempts().write(() => Promise.resolve())).toBe(true);
});
