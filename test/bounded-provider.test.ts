/** A third party's provider: operations end by their bounds, and fail with a StorageError, whatever it does. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import type { OperationContext } from '../src/component.js';
import { isStorageError, NotFoundError } from '../src/errors.js';
import { registerVectorProvider, type StorageManager } from '../src/index.js';
import type { Pool } from '../src/pools/pool.js';
import { memory } from '../src/vectors/memory.js';
import type { ProviderEnvironment, ScoredVector, VectorProvider } from '../src/vectors/provider.js';
import { AheadClock, openOn } from './support/ahead-clock.js';

/** What the next operations do instead of what they are for. */
let instead: ((context: OperationContext) => Promise<never>) | undefined;
let asked = 0;

class Mine {
  readonly #provider: VectorProvider;
  readonly name: string;
  readonly capabilities: VectorProvider['capabilities'];
  readonly pool: Pool | undefined;

  constructor(settings: Readonly<Record<string, unknown>>, environment: ProviderEnvironment) {
    this.#provider = memory.create(settings, environment);
    ({ name: this.name, capabilities: this.capabilities, pool: this.pool } = this.#provider);
  }

  open = async (): Promise<void> => undefined;
  close = async (): Promise<void> => undefined;
  check = async () => ({ status: 'healthy' as const });
  createCollection: VectorProvider['createCollection'] = (...args) => this.#provider.createCollection(...args);
  describeCollection: VectorProvider['describeCollection'] = (...args) => this.#provider.describeCollection(...args);
  listCollections: VectorProvider['listCollections'] = (...args) => this.#ask(args[0], 'listCollections', args);
  deleteCollection: VectorProvider['deleteCollection'] = (...args) => this.#ask(args[1], 'deleteCollection', args);
  upsert: VectorProvider['upsert'] = (...args) => this.#ask(args[3], 'upsert', args);
  fetch: VectorProvider['fetch'] = (...args) => this.#ask(args[4], 'fetch', args);
  list: VectorProvider['list'] = (...args) => this.#ask(args[3], 'list', args);
  count: VectorProvider['count'] = (...args) => this.#ask(args[3], 'count', args);
  delete: VectorProvider['delete'] = (...args) => this.#ask(args[3], 'delete', args);

  search(...args: Parameters<VectorProvider['search']>): Promise<ScoredVector[]> {
    return this.#ask(args[3], 'search', args);
  }

  vectorFault(_schema: unknown, vector: Float32Array): string | undefined {
    if (vector[0] === 99) throw new TypeError('postgres://u:secret@h');
    return this.#provider.vectorFault === undefined ? undefined : 'never';
  }

  #ask<R>(context: OperationContext, method: keyof VectorProvider, args: readonly unknown[]): Promise<R> {
    asked++;
    if (instead !== undefined) return instead(context);
    return (this.#provider[method] as (...args: readonly unknown[]) => Promise<R>)(...args);
  }
}

let storage: StorageManager;
const clock = new AheadClock();
const name = 'docs';

beforeAll(async () => {
  registerVectorProvider('mine', { pooled: true })(Mine as never);
  storage = await openOn(clock, { databases: { main: 'memory:' }, vectors: { mine: { database: 'main' } } });
  await storage.vectors('mine').createCollection({ name, dimension: 2 });
  await storage.vectors('mine').upsert(name, [{ id: 'a', vector: [1, 0] }]);
});
afterAll(() => storage.close());
beforeEach(() => {
  instead = undefined;
  asked = 0;
});

type Options = { readonly timeout?: number; readonly signal?: AbortSignal };
const vectors = () => storage.vectors('mine');
const operations: [string, (options: Options) => Promise<unknown>][] = [
  ['upsert', (options) => vectors().upsert(name, [{ id: 'b', vector: [0, 1] }], options)],
  ['fetch', (options) => vectors().fetch(name, ['a'], options)],
  ['list', (options) => vectors().list(name, options)],
  ['count', (options) => vectors().count(name, {}, options)],
  ['delete', (options) => vectors().delete(name, ['a'], options)],
  ['search', (options) => vectors().search(name, { vector: [1, 0], ...options })],
  ['listCollections', (options) => vectors().listCollections(options)],
  ['deleteCollection', (options) => vectors().deleteCollection(name, options)],
];
const never = (): Promise<never> => new Promise(() => undefined);
const MINUTE = 60_000;
/** As one that never ends, when the minute of its operation has passed. */
const late = (): Promise<never> => {
  clock.skip(MINUTE);
  return never();
};

describe.each(operations)('%s', (operation, act) => {
  test('that never ends is over by its deadline and its signal', async () => {
    instead = late;
    await expect(act({ timeout: MINUTE })).rejects.toMatchObject({ code: 'TIMEOUT', operation });
    instead = never;
    const controller = new AbortController();
    const acting = act({ signal: controller.signal });
    instead = () => {
      controller.abort();
      return never();
    };
    const aborting = act({ signal: controller.signal });
    await expect(acting).rejects.toMatchObject({ code: 'ABORTED', operation });
    await expect(aborting).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('is not asked of the provider once its signal has aborted', async () => {
    await expect(act({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    expect(asked).toBe(0);
  });

  test.each<[string, () => Promise<never>]>([
    ['rejects', async () => Promise.reject(new TypeError('postgres://u:secret@h'))],
    [
      'throws',
      () => {
        throw new TypeError('postgres://u:secret@h');
      },
    ],
  ])('says what a provider that %s has failed with, and not its words', async (_kind, failing) => {
    instead = failing;
    const error: unknown = await act({}).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'INTERNAL', component: 'vectors:mine', operation });
    expect(isStorageError(error) && error.message).toBe('vectors:mine failed (TypeError)');
    expect((error as Error).cause).toBeInstanceOf(TypeError);
    expect(inspect(error)).not.toContain('secret');
  });

  test('fails with the StorageError that the provider throws', async () => {
    const given = new NotFoundError('Not here', { details: { id: 'x' } });
    instead = async () => Promise.reject(given);
    await expect(act({})).rejects.toBe(given);
  });
});

test('what is asked before writing fails with a StorageError too', async () => {
  const writing = vectors().upsert(name, [{ id: 'b', vector: [99, 0] }]);
  await expect(writing).rejects.toMatchObject({ code: 'INTERNAL', operation: 'vectorFault' });
});

test('a transaction of which an operation was cut off does not commit', async () => {
  const work = storage.transaction(
    async (tx) => {
      await tx.vectors('mine').upsert(name, [{ id: 'c', vector: [1, 1] }]);
      instead = late;
      await tx
        .vectors('mine')
        .upsert(name, [{ id: 'd', vector: [1, 1] }], { timeout: MINUTE })
        .catch(() => undefined);
      instead = undefined;
    },
    { timeout: 10 * MINUTE },
  );
  await expect(work).rejects.toMatchObject({ code: 'TIMEOUT' });
  expect(await vectors().fetch(name, ['c'])).toEqual([undefined]);
});
