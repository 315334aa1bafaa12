/** The conformance suites find what they are there to find: implementations that break the contract in one place each. */
import { expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { RecordBackend } from '../src/backends/backend.js';
import type { Component, OperationContext, Session } from '../src/component.js';
import { memory as memoryPool } from '../src/pools/memory.js';
import { memory as memoryBackend } from '../src/backends/memory.js';
import { describeRecordBackend, describeVectorProvider } from '../src/testing/index.js';
import { memory as memoryVectors } from '../src/vectors/memory.js';
import type { VectorProvider } from '../src/vectors/provider.js';
import { runSuite } from './support/suite-run.js';

const opening = { clock, signal: new AbortController().signal };

/** `target`, but for `other`. */
function changed<T extends object>(target: T, other: Partial<T>): T {
  return new Proxy(target, {
    get(of, key) {
      if (Object.hasOwn(other, key)) return other[key as keyof T];
      const value: unknown = Reflect.get(of, key, of);
      return typeof value === 'function' ? (value.bind(of) as unknown) : value;
    },
  });
}

/** `target`, its methods called with another context than they were given. */
function withContext<T extends object>(
  target: T,
  methods: readonly (keyof T)[],
  context: (given: OperationContext) => OperationContext,
): Partial<T> {
  const isContext = (argument: unknown): argument is OperationContext =>
    typeof argument === 'object' && argument !== null && 'deadline' in argument;
  const entries = methods.map((method) => [
    method,
    (...given: unknown[]): unknown =>
      (target[method] as (...given: unknown[]) => unknown).apply(
        target,
        given.map((argument) => (isContext(argument) ? context(argument) : argument)),
      ),
  ]);
  return Object.fromEntries(entries) as Partial<T>;
}

const alone = ({ session: _session, ...context }: OperationContext): OperationContext => context;

const unbounded = ({ signal: _signal, ...context }: OperationContext): OperationContext => ({
  ...context,
  deadline: Infinity,
});

type Change<T> = (right: T) => Partial<T>;

async function openPool(): Promise<ReturnType<typeof memoryPool.create>> {
  const pool = memoryPool.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
  return pool;
}

function vectorSuite(change: Change<VectorProvider>, block: string): ReturnType<typeof runSuite> {
  return runSuite((runner) => {
    describeVectorProvider(
      {
        name: 'changed',
        async open() {
          const pool = await openPool();
          const provider = memoryVectors.create({}, { clock, name: 'vectors:memory', pool });
          await provider.open(opening);
          return { provider: changed(provider, change(provider)), close: () => pool.close() };
        },
      },
      runner,
    );
  }, block);
}

function recordSuite(change: Change<RecordBackend>, block: string): ReturnType<typeof runSuite> {
  return runSuite((runner) => {
    describeRecordBackend(
      {
        name: 'changed',
        async open() {
          const pool = await openPool();
          const backend = memoryBackend.create(pool, 'records:main');
          return { backend: changed(backend, change(backend)), close: () => pool.close() };
        },
      },
      runner,
    );
  }, block);
}

const BOUNDS = 'an aborted signal and a passed deadline';
const VECTOR_WRITES = ['upsert', 'delete'] as const;
const VECTOR_READS = ['fetch', 'list', 'count', 'search'] as const;

test.each<[string, Change<VectorProvider>]>([
  ['ignores the session', (right) => withContext(right, [...VECTOR_WRITES, ...VECTOR_READS], alone)],
  ['writes outside of the session', (right) => withContext(right, VECTOR_WRITES, alone)],
  ['searches outside of the session', (right) => withContext(right, ['search'], alone)],
])('a vector provider that %s does not pass', async (_name, change) => {
  expect((await vectorSuite(() => ({}), 'transactions')).failed).toEqual([]);
  const { failed } = await vectorSuite(change, 'transactions');
  expect(failed).not.toEqual([]);
});

test.each([...VECTOR_WRITES, ...VECTOR_READS, 'createCollection', 'listCollections', 'searchText'] as const)(
  'a vector provider whose %s goes on when it is given up does not pass',
  async (method) => {
    expect((await vectorSuite(() => ({}), BOUNDS)).failed).toEqual([]);
    expect((await vectorSuite((right) => withContext(right, [method], unbounded), BOUNDS)).failed).toHaveLength(1);
  },
);

test('a vector provider without transactions passes where they are refused', async () => {
  const capabilities = ({ capabilities: all }: VectorProvider) => ({ ...all, transactions: false });
  const { failed, ran } = await vectorSuite((right) => ({ capabilities: capabilities(right) }), 'transactions');
  expect(failed).toEqual([]);
  expect(ran).toBeGreaterThan(2);
});

/** Others read what the latest transaction has written before it commits. */
function readingDirt(right: RecordBackend): Partial<RecordBackend> {
  let latest: Session | undefined;
  const pool = changed(right.pool, {
    transaction: (options, work) =>
      right.pool.transaction(options, async (session) => {
        latest = session;
        return work(session).finally(() => (latest = undefined));
      }),
  });
  const dirty = (context: OperationContext): OperationContext =>
    context.session === undefined && latest !== undefined ? { ...context, session: latest } : context;
  return { pool, ...withContext(right, ['read', 'find', 'count'], dirty) };
}

test.each<[string, string, Change<RecordBackend>]>([
  ['shows what is not committed', 'transactions', readingDirt],
  [
    'sweeps by its own clock',
    'the sweep',
    (right) => ({ sweep: (c, _before, n, at) => right.sweep(c, at.now, n, at) }),
  ],
  [
    'sweeps beyond the limit',
    'the sweep',
    (right) => ({ sweep: (c, before, _n, at) => right.sweep(c, before, 100, at) }),
  ],
])('a record backend that %s does not pass', async (_name, block, change) => {
  expect((await recordSuite(() => ({}), block)).failed).toEqual([]);
  expect((await recordSuite(change, block)).failed).toHaveLength(1);
});

test.each(['read', 'write', 'find', 'count', 'sweep'] as const)(
  'a record backend whose %s goes on when it is given up does not pass',
  async (method) => {
    expect((await recordSuite(() => ({}), BOUNDS)).failed).toEqual([]);
    expect((await recordSuite((right) => withContext(right, [method], unbounded), BOUNDS)).failed).toHaveLength(1);
  },
);

test.each<[string, () => Partial<Component>]>([
  ['never tells its health', () => ({ check: () => new Promise(() => undefined) })],
  ['rejects when it is closed', () => ({ close: () => Promise.reject(new Error('no')) })],
  [
    'rejects when it is closed again',
    () => {
      let closed = false;
      return { close: () => (closed ? Promise.reject(new Error('no')) : Promise.resolve(void (closed = true))) };
    },
  ],
])(
  'a component that %s does not pass',
  async (_name, change) => {
    // At once: what never tells its health is waited for.
    await Promise.all(
      [vectorSuite, recordSuite].map(async (suite) => {
        expect((await suite(() => ({}), 'the component')).failed).toEqual([]);
        expect((await suite(change, 'the component')).failed).toHaveLength(1);
      }),
    );
  },
  240_000,
);
