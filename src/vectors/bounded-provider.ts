/**
 * A third party's provider as the library uses it: an operation is over by its deadline and its signal, whatever the
 * provider does, and fails with a StorageError. The library's own providers keep to both by themselves, without a timer more.
 */
import { aborted, within, type Clock } from '../clock.js';
import type { Component, OperationContext } from '../component.js';
import { foreignErrorName, isStorageError, StorageError, TimeoutError } from '../errors.js';
import type { ProviderEnvironment, VectorProvider } from './provider.js';

type Operation = Exclude<
  keyof VectorProvider,
  keyof Component | 'capabilities' | 'pool' | 'vectorFault' | 'recordFault'
>;
type Call = (...args: unknown[]) => unknown;

/** Which of an operation's arguments is the context. */
const CONTEXT_AT: Readonly<Record<Operation, number>> = {
  createCollection: 1,
  describeCollection: 1,
  listCollections: 0,
  deleteCollection: 1,
  upsert: 3,
  fetch: 4,
  list: 3,
  count: 3,
  delete: 3,
  search: 3,
  settle: 0,
  explain: 3,
  bulkLoad: 3,
  buildIndex: 1,
  dropIndex: 1,
  searchText: 3,
};
const FAULTS = ['vectorFault', 'recordFault'] as const;

/** @param environment what it was made with. The name there is its own, whatever it calls itself. */
export function boundedProvider(provider: VectorProvider, environment: ProviderEnvironment): VectorProvider {
  const { clock, name } = environment;
  const bounded = {
    name,
    open: (...args: Parameters<Component['open']>) => provider.open(...args),
    check: (...args: Parameters<Component['check']>) => provider.check(...args),
    close: (...args: Parameters<Component['close']>) => provider.close(...args),
  };
  // What it has is asked for each time: it may be known only once it is open.
  const define = (key: keyof VectorProvider, get: () => unknown): void =>
    void Object.defineProperty(bounded, key, { get, enumerable: true });
  for (const key of ['capabilities', 'pool'] as const) define(key, () => provider[key]);
  for (const key of FAULTS) {
    const call = calling(provider, key, name);
    define(key, () => (provider[key] === undefined ? undefined : call));
  }
  for (const [key, at] of Object.entries(CONTEXT_AT) as [Operation, number][]) {
    const call = calling(provider, key, name);
    const run = (...args: unknown[]): Promise<unknown> =>
      runBounded(name, key, args[at] as OperationContext, clock, async () => call(...args));
    define(key, () => (provider[key] === undefined ? undefined : run));
  }
  return bounded as VectorProvider;
}

/** The provider's method, on the provider itself; what it throws at once is a StorageError. */
function calling(provider: VectorProvider, key: Operation | (typeof FAULTS)[number], name: string): Call {
  return (...args) => {
    try {
      return (provider[key] as Call).apply(provider, args);
    } catch (error) {
      throw asStorageError(error, name, key);
    }
  };
}

async function runBounded(
  component: string,
  operation: Operation,
  context: OperationContext,
  clock: Clock,
  call: () => Promise<unknown>,
): Promise<unknown> {
  const { signal, deadline, session } = context;
  const late = `The deadline of the operation has passed (${component})`;
  if (signal?.aborted === true) throw aborted(signal, operation);
  if (deadline <= clock.monotonic()) throw new TimeoutError(late, { component, operation });
  let running = true;
  const work = call().finally(() => (running = false));
  try {
    return await within(work, context, clock, late, { operation });
  } catch (error) {
    const fault = asStorageError(error, component, operation);
    // What goes on behind the transaction's back may come before its commit or after it.
    if (running && session !== undefined) session.failure ??= fault;
    throw fault;
  }
}

function asStorageError(error: unknown, component: string, operation: string): StorageError {
  if (isStorageError(error)) return error;
  const options = { component, operation, cause: error };
  return new StorageError('INTERNAL', `${component} failed (${foreignErrorName(error)})`, options);
}
