/** What the manager, a tenant's handle and a transaction have in common: the surface a host works with. */
import { Agent } from './adapters/agent.js';
import { StoreFactory } from './adapters/factory.js';
import { createMessageHandler, type MessageHandler } from './adapters/message-handler.js';
import type { StoreName } from './adapters/settings.js';
import type { StoreHost } from './adapters/host.js';
import { checkKnown, invalid, StorageError, UnsupportedError, ValidationError } from './errors.js';
import { checkCallOptions, type OpenParts } from './opening.js';
import { runAdmitted } from './operation.js';
import { Placement } from './placement.js';
import type { AnyCollection } from './prepare.js';
import { Collection } from './collection/collection.js';
import { COUNTERS } from './collection/counters.js';
import type { CollectionDefinition, IdKind } from './collection/definition.js';
import type { RecordSchema } from './backends/backend.js';
import { checkTenant } from './backends/value.js';
import type { Path } from './filter/paths.js';
import type { Database } from './database.js';
import { Deliveries } from './delivery/deliveries.js';
import type { Attempt } from './unit-of-work/attempt.js';
import { runInner } from './unit-of-work/inner.js';
import { runTransaction, type TransactionCallOptions } from './unit-of-work/transaction.js';
import { TransactionOutbox } from './unit-of-work/outbox/enqueue.js';
import { OUTBOX_TABLES } from './unit-of-work/outbox/records.js';
import { Locks } from './unit-of-work/locks.js';
import { Sequences } from './unit-of-work/sequences.js';
import type { VectorStore } from './vectors/vector-store.js';

// A misspelt key would be passed over: the work would be done on the default database, or without its bound.
const PLACE: ReadonlySet<string> = new Set(['on']);
const TRANSACTION: ReadonlySet<string> = new Set([
  'on',
  'isolation',
  'retries',
  'signal',
  'timeout',
] satisfies (keyof TransactionCallOptions)[]);

export abstract class Storage extends StoreFactory {
  protected abstract override parts(): OpenParts;
  protected abstract readonly tenantId: string | undefined;
  protected abstract readonly attempt: Attempt | undefined;
  /** Whether it comes of `tenant(id)`: what is every tenant's is not to be changed by it. */
  protected abstract readonly forTenant: boolean;

  toJSON(): Record<string, unknown> {
    return { tenant: this.tenantId };
  }

  protected place(): Placement {
    return new Placement(this.parts(), this.tenantId, this.attempt);
  }

  /**
   * The records of a collection, on a database of the settings (default: `stores.default`). Cheap, no I/O: its tables are
   * made on first use. @throws `VALIDATION` when the name stands for another declaration, when a tenant is required, or for
   * an option that there is not; `UNSUPPORTED` when the database cannot keep what the collection declares; in a transaction
   * `UNAVAILABLE` where its tables are to be made first: the function runs again then.
   */
  collection<T, In = T, F extends string = Path<T>, I extends IdKind = IdKind>(
    definition: CollectionDefinition<T, In, F, I>,
    options: { readonly on?: string | undefined } = {},
  ): Collection<T, In, F, I> {
    checkKnown(options, PLACE);
    const place = this.place();
    const database = place.declared(definition, options.on);
    return new Collection(definition, place.records(database, [definition.schema]));
  }

  /**
   * A vector provider; without a name the settings' default. Where a tenant is required, the manager's own makes and deletes
   * collections, and `storage.tenant(id)` works with the records. @throws `CONFIGURATION` for an unknown name.
   */
  vectors(name?: string): VectorStore {
    return this.place().vectors(name, this.forTenant);
  }

  /**
   * Answers messages of JSON (`storage_save`, `storage_get`, `storage_delete`, `storage_list`, `storage_query`) about these
   * collections, and no others: of this handle's tenant, on the default database. It never rejects.
   */
  messageHandler(definitions: readonly AnyCollection[]): MessageHandler {
    return createMessageHandler(definitions as CollectionDefinition<unknown>[], (named) => this.collection(named));
  }

  /** One agent's states, tasks and conversations. Cheap, no I/O. @throws `VALIDATION` for what is no id. */
  agent(id: string): Agent<Transaction> {
    return new Agent<Transaction>(this, id);
  }

  /** The tenant's sequences and fencing tokens, on a database of the settings (default: `stores.default`). */
  sequences(options: { readonly on?: string | undefined } = {}): Sequences {
    checkKnown(options, PLACE);
    const place = this.place();
    return new Sequences(place.records(place.database(options.on), [COUNTERS]));
  }

  /**
   * The tenant's locks, on a database of the settings (default: `stores.default`): one holder at a time, of any process.
   * @throws `UNSUPPORTED` in a transaction: a lock that is rolled back is none.
   */
  locks(options: { readonly on?: string | undefined } = {}): Locks {
    checkKnown(options, PLACE);
    const place = this.place();
    const database = place.database(options.on);
    if (this.attempt !== undefined)
      throw new UnsupportedError('A lock is taken before the transaction, not in it', { operation: 'lock' });
    return new Locks({
      ...place.records(database, [COUNTERS]),
      onClosing: (listener) => place.parts.onClosing(listener),
    });
  }

  /** The same for another tenant; cheap, no I/O. @throws `VALIDATION` for a malformed tenant, and inside a transaction. */
  tenant(id: string): TenantStorage {
    const tenant = checkTenant(id);
    if (this.attempt !== undefined)
      throw new ValidationError('VALIDATION', 'A transaction belongs to one tenant: begin it on storage.tenant(id)');
    return new TenantStorage(() => this.parts(), tenant);
  }

  /**
   * Runs `work` in one transaction of a database: what it does through `tx` happens wholly or not at all. It is run again
   * as a whole after a conflict, so it should change nothing outside but through `tx.onCommit`. On a `tx`, as a part of its
   * transaction: when `work` throws it alone is undone; else it is committed with the whole, and its `onCommit` runs then.
   * It rejects only when it is not committed, or when nobody knows (`OUTCOME_UNKNOWN`): what a hook of `tx.onCommit` throws is told by the manager's event `error`.
   * @throws what `work` throws, after the rollback; `UNSUPPORTED` where the database has no transactions, or no savepoints;
   * `VALIDATION` for an option that there is not.
   */
  async transaction<R>(work: (tx: Transaction) => Promise<R>, options: TransactionCallOptions = {}): Promise<R> {
    if (typeof work !== 'function') throw invalid('work', work, 'a function');
    checkKnown(options, TRANSACTION);
    return this.runTransaction(work, options);
  }

  protected async runTransaction<R>(
    work: (tx: Transaction, attempt: Attempt) => Promise<R>,
    options: TransactionCallOptions,
    tenant?: string,
    within = (parts: OpenParts): OpenParts => parts,
  ): Promise<R> {
    checkCallOptions(options);
    const place = this.place();
    const parts = within(place.parts);
    const owner = tenant ?? place.tenant;
    const run = (attempt: Attempt): Promise<R> => work(new Transaction(parts, owner, attempt, this.forTenant), attempt);
    if (this.attempt !== undefined) return runInner(this.attempt, options, run);
    const database = place.database(options.on);
    if (database.backend.capabilities.transactions === 'none')
      throw new UnsupportedError(`The database ${database.name} has no transactions`, { operation: 'transaction' });
    const begin = place.beginOn(database);
    return runAdmitted(begin, 'transaction', options, (context) =>
      runTransaction(database, context, options, run, (error) => parts.report(error)),
    );
  }

  /** @param owner whose store it is, where that is not the handle's own tenant. */
  protected override storeHost(name: StoreName, owner?: string): StoreHost {
    const place = this.place();
    const { parts } = place;
    const { attempt, forTenant } = this;
    const placeOf = (store: StoreName): string => parts.storeDatabases[store] ?? parts.defaultDatabase;
    const database = place.database(placeOf(name));
    const tenantOf = (): string => owner ?? place.tenant;
    const { backend, clock, begin, during, admit, ensure } = place.records(database, [], '');
    // Member by member: a handle is made for each request of a tenant, and spreading takes six times as long.
    return {
      backend,
      clock,
      begin,
      during,
      admit,
      ensure,
      requireTables: (schemas) => place.requireTables(database, schemas),
      get tenant() {
        return tenantOf();
      },
      settings: parts.storeSettings,
      events: parts.events,
      forAll: !forTenant && attempt === undefined,
      of: (tenant) => this.storeHost(name, tenant),
      outbox: this instanceof Transaction ? this.outboxOf(database, tenantOf()) : undefined,
      onCommit: (hook) => void (attempt === undefined ? hook() : attempt.committed.push(hook)),
      transaction: (options, work) =>
        attempt === undefined
          ? this.runTransaction((tx) => work(tx.storeHost(name)), { ...options, on: database.name }, tenantOf())
          : work(this.storeHost(name, owner)),
      // Two names of one URL share its pool.
      isWith: (store) => parts.databases.get(placeOf(store))?.pool === database.pool,
      collection: (store, definition) => {
        const on = placeOf(store);
        // What lives elsewhere is read as it is there: a transaction is of one database.
        if (attempt === undefined || parts.databases.get(on)?.pool === attempt.pool)
          return new Collection(definition, place.records(place.declared(definition, on), [], tenantOf()));
        return new TenantStorage(() => parts, tenantOf()).collection(definition, { on });
      },
      vectors: () => place.vectors(undefined, false),
      vectorsOutside: () => new Placement(parts, tenantOf(), undefined).vectors(undefined, false),
      onClosing: (listener) => parts.onClosing(listener),
      beginLoop: parts.beginLoop,
      report: (error) => parts.report(error),
    };
  }

  /** What a store stands on outside of any transaction. */
  protected hostOutside(parts: OpenParts, name: StoreName, tenant: string): StoreHost {
    return new TenantStorage(() => parts, tenant).storeHost(name);
  }
}

/** A tenant's handle: everything done through it is this tenant's. */
export class TenantStorage extends Storage {
  protected readonly attempt = undefined;
  protected readonly forTenant = true;

  constructor(
    protected readonly parts: () => OpenParts,
    protected readonly tenantId: string,
  ) {
    super();
  }
}

/** What `storage.transaction` gives to its function. It cannot be used after the function has ended. */
export class Transaction extends Storage {
  constructor(
    private readonly opening: OpenParts,
    protected readonly tenantId: string,
    protected readonly attempt: Attempt,
    protected readonly forTenant: boolean,
  ) {
    super();
  }

  /** Leaves messages that are delivered after the commit: `storage.outbox.relay` delivers them. */
  get outbox(): TransactionOutbox {
    return this.outboxOf(this.place().database(undefined), undefined, OUTBOX_TABLES);
  }

  outboxOf(database: Database, tenant?: string, schemas: readonly RecordSchema[] = []): TransactionOutbox {
    // Of a call that was not awaited the transaction tells: no error of its own, which nobody would catch.
    const { committed } = this.attempt;
    return new TransactionOutbox(this.place().records(database, schemas, tenant), (hook) => void committed.push(hook));
  }

  /**
   * What lives on another database or in a vector service: left in the outbox with this transaction, done once after its
   * commit, in order for each thing. This process does it, or another with the same settings; what cannot be done becomes a
   * dead letter of the outbox. What lives on this transaction's database is done with it.
   */
  get deliver(): Deliveries {
    const { opening, tenantId, attempt } = this;
    const outside = new Placement(opening, tenantId, undefined);
    return new Deliveries({
      isOwn: (pool) => pool === attempt.pool,
      own: this,
      ownRecords: (definition, on) => {
        const place = this.place();
        return place.records(place.declared(definition, on), [definition.schema]);
      },
      messages: (messages) => this.outbox.leave(messages, () => 'delivery'),
      during: (call) => {
        const left = attempt.during('deliver', call);
        // Where it is not awaited, the transaction tells so.
        left.catch(() => undefined);
        return left;
      },
      storeHost: (name) => this.hostOutside(opening, name, tenantId),
      records: (definition, on) => outside.records(outside.declared(definition, on), []),
      vectors: (name) => {
        const { key, provider } = outside.provider(name);
        const isOwn = provider.pool === attempt.pool;
        return { key, isOwn, store: isOwn ? this.vectors(name) : outside.vectors(name, false) };
      },
    });
  }

  /** Runs once, after the commit; never for a run that was rolled back. */
  onCommit(hook: () => void | Promise<void>): void {
    this.register(this.attempt.committed, hook, 'onCommit');
  }

  /** A compensation: runs when this run of the function is rolled back, the last registered first. */
  onRollback(hook: () => void | Promise<void>): void {
    this.register(this.attempt.rolledBack, hook, 'onRollback');
  }

  protected parts(): OpenParts {
    return this.opening;
  }

  private register(hooks: (() => void | Promise<void>)[], hook: unknown, name: string): void {
    if (typeof hook !== 'function') throw invalid(name, hook, 'a function');
    if (!this.attempt.takesHooks) throw new StorageError('CLOSED', 'The transaction has ended', { operation: name });
    hooks.push(hook as () => void | Promise<void>);
  }
}
