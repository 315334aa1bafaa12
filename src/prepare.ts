/** Making tables ahead of their first use: what a service does as it starts, before it listens. */
import { STORES } from './adapters/factory.js';
import type { StoreHost } from './adapters/host.js';
import { STORE_NAMES, type StoreName } from './adapters/settings.js';
import { Store } from './adapters/store.js';
import type { RecordSchema } from './backends/backend.js';
import { COUNTERS } from './collection/counters.js';
import type { CollectionDefinition } from './collection/definition.js';
import { runOperation } from './collection/host.js';
import { LIBRARY } from './collection/library.js';
import type { CallOptions } from './component.js';
import type { Database } from './database.js';
import { checkKnown, invalid } from './errors.js';
import type { Placement } from './placement.js';
import { OUTBOX_TABLES } from './unit-of-work/outbox/records.js';

/** A collection of records of any type. */
export type AnyCollection = Pick<CollectionDefinition<unknown>, 'name' | 'schema' | 'domain'>;

export interface PrepareOptions extends CallOptions {
  /** The collections' database, and the outbox's; default: `stores.default`. */
  readonly on?: string | undefined;
  /** Stores, each on its own database, and the outbox; default: none. */
  readonly stores?: readonly (StoreName | 'outbox')[] | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set(['on', 'stores', 'signal', 'timeout'] satisfies (keyof PrepareOptions)[]);
const NAMES = [...STORE_NAMES, 'outbox'] as const;

/** @throws what the first fault is, when all else is made */
export async function prepare(
  place: Placement,
  storeHost: (name: StoreName) => StoreHost,
  collections: readonly AnyCollection[],
  options: PrepareOptions,
  /** Milliseconds, where the options name none. */
  schemaTimeout: number,
): Promise<void> {
  checkKnown(options, OPTIONS);
  const { on, signal, timeout = schemaTimeout } = options;
  const stores: unknown = options.stores ?? [];
  const call = { signal, timeout };
  if (!Array.isArray(collections)) throw invalid('collections', collections, 'an array of what defineCollection gives');
  if (!Array.isArray(stores)) throw invalid('options.stores', stores, `an array of ${NAMES.join(', ')}`);
  const names = stores.map((name: unknown, i) => {
    const known = NAMES.find((one) => one === name);
    if (known === undefined) throw invalid(`options.stores[${i}]`, name, `one of ${NAMES.join(', ')}`);
    return known;
  });
  const made = (database: Database, schemas: readonly RecordSchema[]) => (): Promise<void> => {
    const host = place.records(database, [], LIBRARY.tenant);
    return runOperation(host, schemas, 'prepare', call, () => Promise.resolve());
  };
  const madeOf = (name: StoreName) => (): Promise<void> => {
    const host = storeHost(name);
    return runOperation(host, Store.schemasOf(new STORES[name](host)), `${name}.prepare`, call, () =>
      Promise.resolve(),
    );
  };
  // All of them are checked before anything is made.
  const steps = [
    ...collections.map((given: AnyCollection) =>
      made(
        place.declared(given as CollectionDefinition<unknown>, on),
        given.schema.numbered === true ? [given.schema, COUNTERS] : [given.schema],
      ),
    ),
    ...names.map((name) => (name === 'outbox' ? made(place.database(on), [...OUTBOX_TABLES, COUNTERS]) : madeOf(name))),
  ];
  const results = await Promise.allSettled(steps.map((step) => step()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
