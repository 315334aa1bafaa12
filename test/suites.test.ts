/** The conformance suites find what they are there to find: implementations that break the contract in one place each. */
import { expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import { memory as memoryPool } from '../src/pools/memory.js';
import { describeVectorProvider } from '../src/testing/index.js';
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

function vectorSuite(change: Change<VectorProvider>, block: string): ReturnType<typeof runSuite> {
  return runSuite((runner) => {
    describeVectorProvider(
      {
        name: 'changed',
        async open() {
          const pool = memoryPool.create('memory:', { seed: null }, { clock, name: 'main' });
          await pool.open();
          const provider = memoryVectors.create({}, { clock, name: 'vectors:memory', pool });
          await provider.open(opening);
          return { provider: changed(provider, change(provider)), close: () => pool.close() };
        },
      },
      runner,
    );
  }, block);
}

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
    const block = 'an aborted signal and a passed deadline';
    expect((await vectorSuite(() => ({}), block)).failed).toEqual([]);
    expect((await vectorSuite((right) => withContext(right, [method], unbounded), block)).failed).toHaveLength(1);
  },
);

test('a vector provider without transactions passes where they are refused', async () => {
  const capabilities = ({ capabilities: all }: VectorProvider) => ({ ...all, transactions: false });
  const { failed, ran } = await vectorSuite((right) => ({ capabilities: capabilities(right) }), 'transactions');
  expect(failed).toEqual([]);
  expect(ran).toBeGreaterThan(2);
});
