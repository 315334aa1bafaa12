/** What a store stands on. */
import type { RecordSchema } from '../backends/backend.js';
import type { Collection } from '../collection/collection.js';
import type { CollectionDefinition } from '../collection/definition.js';
import type { CollectionHost } from '../collection/host.js';
import type { BeginLoop, CallOptions } from '../component.js';
import type { StorageError } from '../errors.js';
import type { TransactionOutbox } from '../unit-of-work/outbox/enqueue.js';
import type { VectorStore } from '../vectors/vector-store.js';
import type { EventBus } from './events.js';
import type { StoreName, StoreSettings } from './settings.js';

/** The storage that made the store gives it. Reading `tenant` throws where one is required and none named. */
export interface StoreHost extends CollectionHost {
  /** In a transaction: ends its run here where tables are not known to be there, before a call is begun. */
  requireTables(schemas: readonly RecordSchema[]): void;
  readonly settings: StoreSettings;
  readonly events: EventBus;
  /** Whether it belongs to the manager itself: only that may work for every tenant. */
  readonly forAll: boolean;
  /** The same for the tenant that a record of every tenant's work names. Only for stores that asked `requireAll`. */
  of(tenant: string): StoreHost;
  /** Present inside a transaction. */
  readonly outbox?: TransactionOutbox | undefined;
  /** Present where what is decided was left by a transaction elsewhere: the id of its message. */
  readonly delivery?: string;
  /** Runs after the commit; at once outside a transaction. */
  onCommit(hook: () => void | Promise<void>): void;
  /** Runs `work` in one transaction of the store's database; inside one, in that one. @throws `UNSUPPORTED` */
  transaction<R>(options: CallOptions, work: (host: StoreHost) => Promise<R>): Promise<R>;
  /** Whether another store lives on this one's database, so that one transaction is of both. */
  isWith(store: StoreName): boolean;
  /** Records of another store, wherever that lives: to read; and to write where it `isWith` this one. */
  collection<T>(store: StoreName, definition: CollectionDefinition<T>): Collection<T>;
  /** The default provider, whose collections it may make. @throws `UNSUPPORTED` in a transaction that it cannot take part in */
  vectors(): VectorStore;
  /** The same outside of the transaction: for what follows its commit. */
  vectorsOutside(): VectorStore;
  /** Calls back when the manager closes, or, where that waits for the caller, has waited long enough. Gives what ends the listening. */
  onClosing(listener: () => void): () => void;
  readonly beginLoop: BeginLoop;
  /** Tells what went wrong where no caller waits for it. */
  report(error: StorageError): void;
}
