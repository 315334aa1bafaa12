/** One opening of a manager: what its handles stand on; and what callers say of operations, checked. */
import type { EventBus } from './adapters/events.js';
import type { StoreName, StoreSettings } from './adapters/settings.js';
import { aborted, type Clock } from './clock.js';
import type { BeginLoop, CallOptions } from './component.js';
import type { Database } from './database.js';
import { invalid, StorageError } from './errors.js';
import type { VectorProvider } from './vectors/provider.js';

export interface OpenParts {
  readonly databases: ReadonlyMap<string, Database>;
  readonly providers: ReadonlyMap<string, VectorProvider>;
  readonly defaultDatabase: string;
  /** The database of a store, where it is not the default one. */
  readonly storeDatabases: { readonly [store in StoreName]: string | null };
  readonly storeSettings: StoreSettings;
  /** What the stores of this manager tell. */
  readonly events: EventBus;
  readonly defaultProvider: string | undefined;
  readonly defaultTenant: string;
  readonly tenancy: 'optional' | 'required';
  readonly operationTimeout: number;
  readonly clock: Clock;
  /**
   * Counts one operation in flight, of a component or of the whole.
   * @throws `CLOSED` when this opening is over, `UNAVAILABLE` while the component has not opened.
   */
  admit(component?: string): () => void;
  /** Tells what went wrong where no caller waits for it. */
  report(error: StorageError): void;
  /** Calls back when this opening begins to end, or, where a close waits for the caller, has waited long enough. Gives what ends the listening. */
  onClosing(listener: () => void): () => void;
  readonly beginLoop: BeginLoop;
}

/** The same, in which no collection is declared yet: for work on records of a time before this process's declarations. */
export function undeclared(parts: OpenParts): OpenParts {
  const databases = new Map([...parts.databases].map(([name, database]) => [name, database.undeclared()]));
  return { ...parts, databases };
}

export function checkProviderName(name: unknown, { defaultDatabase }: OpenParts): string {
  if (name === undefined)
    throw new StorageError(
      'CONFIGURATION',
      `No default vector provider: the database ${defaultDatabase} (stores.default) brings none. Set one up, and where there are several name it in vectors.default: ` +
        'pgvector with vectors.pgvector.database, the name of a database of PostgreSQL or PGlite; or a service, as chroma with vectors.chroma.url',
      { operation: 'vectors', details: { key: 'vectors.default', database: defaultDatabase } },
    );
  if (typeof name !== 'string') throw invalid('provider', name, 'a name');
  return name.toLowerCase();
}

export function checkCallOptions(options: CallOptions): void {
  if (typeof options !== 'object' || options === null) throw invalid('options', options, 'an object');
  const { signal, timeout } = options;
  if (timeout !== undefined && (typeof timeout !== 'number' || !(timeout > 0)))
    throw invalid('timeout', timeout, 'a number of milliseconds above 0');
  if (signal === undefined) return;
  if (typeof (signal as Partial<AbortSignal> | null)?.addEventListener !== 'function')
    throw invalid('signal', signal, 'an AbortSignal');
  if (signal.aborted) throw aborted(signal);
}
