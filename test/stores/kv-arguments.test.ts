/** Every argument of every operation, wrong: refused by name before anything is written. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';

type Bad = Readonly<Record<string, readonly [place: number, values: readonly unknown[]]>>;

const NAMES = ['', '  ', 5, null, undefined, 'a\u0000', '\ud800', 'x'.repeat(1_021)];
const TTLS = [0, -1, Number.NaN, Infinity, '5', true, 1e12];
const VALUES = [undefined, () => 1, Symbol('x'), Number.NaN, Infinity, 1n, [undefined], new Date(), { a: Number.NaN }];
const OPTIONS = [null, 5, 'x', { unknown: 1 }];
const COUNTS = [1.5, '1', null, true, 2 ** 53, Number.NaN];

/** Arguments that are right, by the name that a fault is told under. */
const OPERATIONS: Readonly<Record<string, { readonly good: readonly unknown[]; readonly bad: Bad }>> = {
  get: { good: ['n', 'k'], bad: { namespace: [0, NAMES], key: [1, NAMES], options: [2, OPTIONS] } },
  has: { good: ['n', 'k'], bad: { namespace: [0, NAMES], key: [1, NAMES], options: [2, OPTIONS] } },
  ttl: { good: ['n', 'k'], bad: { namespace: [0, NAMES], key: [1, NAMES], options: [2, OPTIONS] } },
  getMany: {
    good: ['n', ['k']],
    bad: { namespace: [0, NAMES], keys: [1, [5, 'k', [''], [5], Array(1_001).fill('k')]], options: [2, OPTIONS] },
  },
  list: {
    good: ['n'],
    bad: {
      namespace: [0, NAMES],
      options: [1, OPTIONS],
      'options.prefix': [1, ['', 5].map((prefix) => ({ prefix }))],
      limit: [1, [0, 101, 1.5, '1'].map((limit) => ({ limit }))],
      after: [1, [{ after: 5 }]],
    },
  },
  listNamespaces: { good: [], bad: { options: [0, OPTIONS] } },
  usage: { good: ['n'], bad: { namespace: [0, NAMES], options: [1, OPTIONS] } },
  set: {
    good: ['n', 'k', 1],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      value: [2, [...VALUES, 'x'.repeat(1_048_576)]],
      options: [3, OPTIONS],
      'options.ttlSeconds': [3, TTLS.map((ttlSeconds) => ({ ttlSeconds }))],
    },
  },
  setMany: {
    good: ['n', [{ key: 'k', value: 1 }]],
    bad: {
      namespace: [0, NAMES],
      items: [
        1,
        [
          5,
          [5],
          [{ key: '', value: 1 }],
          [{ key: 'k' }],
          [{ key: 'k', value: 1, x: 1 }],
          [{ key: 'k', value: 1, ttlSeconds: 0 }],
          [
            { key: 'k', value: 1 },
            { key: ' k', value: 2 },
          ],
          Array(999).fill({ key: 'k', value: 1 }),
        ],
      ],
      options: [2, OPTIONS],
    },
  },
  delete: {
    good: ['n', 'k'],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      options: [2, OPTIONS],
      'options.ifVersion': [2, [0, 1.5, '1', null].map((ifVersion) => ({ ifVersion }))],
    },
  },
  deleteMany: {
    good: ['n', ['k']],
    bad: { namespace: [0, NAMES], keys: [1, [5, [''], Array(1_001).fill('k')]], options: [2, OPTIONS] },
  },
  clear: {
    good: ['n', { all: true }],
    bad: {
      namespace: [0, NAMES],
      options: [1, [...OPTIONS, undefined]],
      'options.all': [1, [{}, { all: false }, { all: 1 }]],
    },
  },
  touch: {
    good: ['n', 'k', 1],
    bad: { namespace: [0, NAMES], key: [1, NAMES], ttlSeconds: [2, [...TTLS, null, undefined]], options: [3, OPTIONS] },
  },
  persist: { good: ['n', 'k'], bad: { namespace: [0, NAMES], key: [1, NAMES], options: [2, OPTIONS] } },
  recountUsage: { good: ['n'], bad: { namespace: [0, ['', 5, null]], options: [1, OPTIONS] } },
  recountGlobalUsage: { good: [], bad: { options: [0, OPTIONS] } },
  increment: {
    good: ['n', 'k'],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      options: [2, OPTIONS],
      ...Object.fromEntries(
        ['delta', 'initialValue', 'min', 'max'].map((name) => [
          `options.${name}`,
          [2, COUNTS.map((count) => ({ [name]: count }))] as const,
        ]),
      ),
      'options.ttlSeconds': [2, TTLS.map((ttlSeconds) => ({ ttlSeconds }))],
    },
  },
  compareAndSet: {
    good: ['n', 'k', 1, { ifAbsent: true }],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      value: [2, VALUES],
      options: [3, [...OPTIONS, undefined, {}, { ifAbsent: true, ifVersion: 1 }]],
      'options.ifAbsent': [3, [{ ifAbsent: false }]],
      'options.ifVersion': [3, [{ ifVersion: 0 }]],
      'options.ifValue': [3, [{ ifValue: Number.NaN }]],
    },
  },
  setIfAbsent: {
    good: ['n', 'k', 1],
    bad: { namespace: [0, NAMES], key: [1, NAMES], value: [2, VALUES], options: [3, OPTIONS] },
  },
  getAndSet: {
    good: ['n', 'k', 1],
    bad: { namespace: [0, NAMES], key: [1, NAMES], value: [2, VALUES], options: [3, OPTIONS] },
  },
  getAndDelete: { good: ['n', 'k'], bad: { namespace: [0, NAMES], key: [1, NAMES], options: [2, OPTIONS] } },
  update: {
    good: ['n', 'k', () => 1],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      change: [2, [5, undefined]],
      value: [2, [(): unknown => undefined]],
      options: [3, OPTIONS],
    },
  },
  getOrSet: {
    good: ['n', 'k', () => 1],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      compute: [2, [5, undefined]],
      value: [2, [(): unknown => Number.NaN]],
      options: [3, OPTIONS],
    },
  },
  lock: {
    good: ['n', 'k', { ttlSeconds: 1 }],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      options: [2, [...OPTIONS, undefined]],
      'options.ttlSeconds': [2, [{}, ...[...TTLS, null].map((ttlSeconds) => ({ ttlSeconds }))]],
    },
  },
  unlock: {
    good: ['n', 'k', 1],
    bad: { namespace: [0, NAMES], key: [1, NAMES], token: [2, [0, '1', undefined]], options: [3, OPTIONS] },
  },
  extend: {
    good: ['n', 'k', 1, { ttlSeconds: 1 }],
    bad: {
      namespace: [0, NAMES],
      key: [1, NAMES],
      token: [2, [0, '1', undefined]],
      options: [3, [...OPTIONS, undefined]],
      'options.ttlSeconds': [3, [{}, { ttlSeconds: null }]],
    },
  },
};

test('a value has as many bytes as the setting says', async () => {
  await using storage = await openStorage(
    { databases: { main: 'memory:' }, kv: { maxValueBytes: 10 } },
    { environment: {} },
  );
  expect(await storage.kv.set('n', 'k', 'x'.repeat(8))).toMatchObject({ sizeBytes: 10 });
  await expect(storage.kv.set('n', 'k', 'x'.repeat(9))).rejects.toMatchObject({ code: 'VALIDATION' });
});

describe('the arguments of kv', () => {
  let storage: StorageManager;
  beforeAll(async () => {
    storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  });
  afterAll(() => storage.close());

  test.each(Object.keys(OPERATIONS))('%s', async (name) => {
    const { good, bad } = OPERATIONS[name]!;
    const kv = storage.kv as unknown as Readonly<Record<string, (...given: unknown[]) => Promise<unknown>>>;
    for (const [key, [place, values]] of Object.entries(bad))
      for (const value of values) {
        const given = Array.from({ length: Math.max(good.length, place + 1) }, (_, i) => good[i]);
        given[place] = value;
        const error = (await kv[name]!(...given).then(
          () => undefined,
          (reason: unknown) => reason,
        )) as Partial<Error & { code: string }> | undefined;
        expect({ key, value, code: error?.code }).toEqual({ key, value, code: 'VALIDATION' });
        expect(error!.message).toContain(key);
      }
    expect(await storage.kv.listNamespaces()).toEqual([]);
  });
});
