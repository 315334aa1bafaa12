/** The one owner of everything a service stores: settings, pools, backends, providers, their lifecycle and their health. */
import { isStepOf } from './admission.js';
import { EventBus, type StoreEvent } from './adapters/events.js';
import type { StoreHost } from './adapters/host.js';
import type { StoreName } from './adapters/settings.js';
import type { StoreEvents } from './adapters/types.js';
import { Retention } from './adapters/retention.js';
import { isEventType } from './adapters/event-types.js';
import { checkTenant } from './backends/value.js';
import { systemClock, type Clock } from './clock.js';
import type { CollectionDefinition } from './collection/definition.js';
import type { CollectionHost } from './collection/host.js';
import type { Operations } from './backends/operations.js';
import type { OperationContext } from './component.js';
import { runAdmitted } from './operation.js';
import { composeComponents } from './composition.js';
import { operationsOf } from './database/operations.js';
import { deliveryTargets, startDispatch } from './dispatcher.js';
import { invalid, StorageError, UnsupportedError } from './errors.js';
import { HealthMonitor, type HealthReport, type Verdict } from './health.js';
import { Lifecycle, type CloseOptions, type LifecycleState, type Managed } from './lifecycle.js';
import type { MigrationHost } from './migrations/lock.js';
import { LIBRARY } from './collection/library.js';
import { Closing } from './closing.js';
import { Migrations } from './migrations/migrations.js';
import { checkMigrateOptions, type SettleOptions } from './migrations/options.js';
import { hasFunctions, type MigrationStep } from './migrations/steps.js';
import type { RawClient } from './pools/pool.js';
import { Notices, type ManagerEvents } from './notices.js';
import { prepare, type AnyCollection, type PrepareOptions } from './prepare.js';
import { createProbes, type ProbeHandler } from './probes.js';
import type { Registry } from './registry.js';
import { settingsDoubts, type Settings } from './settings.js';
import { undeclared, type OpenParts } from './opening.js';
import type { Transaction } from './storage.js';
import { SubscribableStorage } from './subscriptions.js';
import { Outbox } from './unit-of-work/outbox/outbox.js';

export interface ManagerOptions {
  readonly registry: Registry;
  readonly settings: Settings;
  readonly clock?: Clock | undefined;
}

export class StorageManager extends SubscribableStorage {
  protected readonly tenantId = undefined;
  protected readonly attempt = undefined;
  protected readonly forTenant = false;
  /** Frozen; secrets are masked when shown. */
  readonly settings: Settings;
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #lifecycle: Lifecycle;
  readonly #health: HealthMonitor;
  readonly #notices = new Notices();
  readonly #events = new EventBus((error) => this.#notices.report(error));
  #parts: OpenParts | undefined;
  #closing: Closing | undefined;

  constructor({ registry, settings, clock = systemClock }: ManagerOptions) {
    super();
    this.settings = settings;
    this.#registry = registry;
    this.#clock = clock;
    this.#lifecycle = new Lifecycle({
      components: () => this.compose(),
      clock,
      openTimeout: settings.lifecycle.openTimeout,
      drainTimeout: settings.lifecycle.drainTimeout,
      onState: (state, error) => {
        if (state === 'ready') this.dispatch(this.#parts!);
        this.#notices.state(state, error);
      },
      onClosing: (time) => this.#closing!.begin(time),
      onFault: (error) => this.#notices.report(error),
    });
    this.#health = new HealthMonitor({
      components: () => this.#lifecycle.components(),
      lifecycle: this.#lifecycle,
      clock,
      timeout: settings.health.timeout,
      cache: settings.health.cache,
    });
  }

  get state(): LifecycleState {
    return this.#lifecycle.state;
  }

  /** Opens everything once, however many ask. @throws the first critical fault; nothing stays open then. */
  open(): Promise<void> {
    return this.#lifecycle.open();
  }

  /** Refuses new work, ends workers and relays, waits for what is in flight (default: `lifecycle.drainTimeout`), closes everything. Never hangs. */
  close(options?: CloseOptions): Promise<void> {
    return this.#lifecycle.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * The host's versioned steps on a database. What a step declares is its own: it may have the collections as they were. `tenant` is whose data the `tx` of a function step is bound to; default:
   * `defaultTenant`, unless `tenancy` requires one. No I/O. @throws `VALIDATION` for malformed steps, `UNSUPPORTED` for steps the database cannot run.
   */
  migrations(
    steps: readonly MigrationStep<Transaction>[],
    options: { readonly on?: string | undefined; readonly tenant?: string | undefined } = {},
  ): Migrations<Transaction> {
    checkMigrateOptions(options, 'migrations');
    const place = this.place();
    const { parts } = place;
    const database = place.database(options.on);
    const required = parts.tenancy === 'required' && options.tenant === undefined;
    if (required && hasFunctions(steps))
      throw invalid(
        'tenant',
        undefined,
        "the tenant whose data the functions of the steps change (tenancy: 'required')",
      );
    // Steps of SQL alone are nobody's.
    const tenant = required ? LIBRARY.tenant : checkTenant(options.tenant ?? parts.defaultTenant);
    const records = place.records(database, [], LIBRARY.tenant);
    const transaction: MigrationHost<Transaction>['transaction'] = (work, callOptions) =>
      this.runTransaction(work, { ...callOptions, on: database.name }, tenant, undeclared);
    return new Migrations({ records, transaction, report: (error) => parts.report(error) }, steps);
  }

  /**
   * Makes the tables of collections and stores ahead of their first use, which else waits for them, and checks those that are
   * there: as a service starts. The time is by default `lifecycle.schemaTimeout`.
   * @throws `VALIDATION`; as a first use does, `MIGRATION` above all: when all else is made
   */
  async prepare(collections: readonly AnyCollection[], options: PrepareOptions = {}): Promise<void> {
    const hostOf = (store: StoreName): StoreHost => this.storeHost(store, LIBRARY.tenant);
    return prepare(this.place(), hostOf, collections, options, this.settings.lifecycle.schemaTimeout);
  }

  /**
   * Ends a deployment: to be called when every process has this declaration of the collection. Checks every record against
   * it, makes all words of `text` anew, and drops the indexes that it no longer declares; `dryRun` tells only which, and changes nothing.
   * @throws `MIGRATION` when records do not fit; then nothing is dropped.
   */
  async settle<T, In>(
    definition: CollectionDefinition<T, In, string>,
    options: SettleOptions = {},
  ): Promise<{ readonly indexes: readonly string[] }> {
    checkMigrateOptions(options, 'settle');
    const place = this.place();
    const database = place.declared(definition, options.on);
    const { schemaTimeout } = this.settings.lifecycle;
    const host = place.records(database, [], LIBRARY.tenant);
    const { schema } = definition;
    const settle = async (context: OperationContext): Promise<{ readonly indexes: readonly string[] }> => ({
      indexes: await database.settle(schema, options.dryRun === true, context),
    });
    return runAdmitted(host.begin, 'settle', { timeout: schemaTimeout, ...options }, settle, schema.name);
  }

  /** The delivery of what transactions have left in their outbox, of every tenant. */
  get outbox(): Outbox {
    const hostOf = (on: string | undefined): CollectionHost => {
      const place = this.place();
      return place.records(place.database(on), [], LIBRARY.tenant);
    };
    const report = (error: StorageError): void => this.#notices.report(error);
    return new Outbox(hostOf, (stop) => this.parts().beginLoop(stop), report);
  }

  /** What is too old, or too much, of every tenant's conversations, tasks, jobs and agents: by the settings' group `retention`. */
  get retention(): Retention {
    return new Retention({
      settings: this.settings,
      of: (store) => this.storeHost(store, LIBRARY.tenant),
      tenant: (id) => this.tenant(id),
      onClosing: (listener) => this.parts().onClosing(listener),
    });
  }

  /**
   * The SQL client of a database (default: `stores.default`): a `pg.Pool`, a PGlite, an SQLite `Database`. It is the pool's
   * own: use it, do not end it. @throws `UNSUPPORTED` where the database speaks no SQL.
   */
  sql<Client = unknown>(database?: string): Client {
    return this.rawClient('sql', database) as Client;
  }

  /** The `MongoClient` of a database (default: `stores.default`). As `sql`. @throws `UNSUPPORTED` where it is none of MongoDB. */
  mongo<Client = unknown>(database?: string): Client {
    return this.rawClient('mongo', database) as Client;
  }

  /**
   * What an operator does to a database (default: `stores.default`): sizes, upkeep, what runs now. No I/O; what the database
   * does not have is `false` in its `capabilities`, and refused with `UNSUPPORTED`.
   */
  operations(database?: string): Operations {
    const place = this.place();
    const own = place.database(database);
    return operationsOf(own.name, own.backend.operations ?? {}, place.records(own, [], LIBRARY.tenant).begin);
  }

  /** One report over every component, each checked within `health.timeout`. */
  health(): Promise<HealthReport> {
    return this.#health.report();
  }

  live(): Verdict {
    return this.#health.live();
  }

  ready(): Promise<Verdict> {
    return this.#health.ready();
  }

  startup(): Verdict {
    return this.#health.startup();
  }

  /** The HTTP handler of `/livez /readyz /startupz /health`. */
  probes(): ProbeHandler {
    return createProbes(this);
  }

  /**
   * Listens until the returned function is called: to the manager's own events, to those of a store (`task.created`), to
   * all of the stores (`*`). A store's are told after the commit, and only what this process did: `watchEvents` gives those of
   * an aggregate in their order, and `subscribe` those of every process, at least once.
   */
  on<E extends keyof ManagerEvents>(event: E, listener: ManagerEvents[E]): () => void;
  on<T extends keyof StoreEvents>(event: T, listener: (event: StoreEvent<T, StoreEvents[T]>) => void): () => void;
  on(event: '*', listener: (event: StoreEvent) => void): () => void;
  on(event: string, listener: (...told: never[]) => void): () => void {
    if (typeof listener !== 'function') throw invalid('listener', listener, 'a function');
    if (event === '*' || isEventType(event)) return this.#events.on(event, listener as (event: StoreEvent) => void);
    return this.#notices.on(event, listener as ManagerEvents[keyof ManagerEvents]);
  }

  override toJSON(): Record<string, unknown> {
    return { state: this.state, settings: this.settings };
  }

  private rawClient(language: RawClient['language'], name: string | undefined): unknown {
    const database = this.place().database(name);
    const { name: component, raw } = database.pool;
    this.#lifecycle.begin(component, () => isStepOf(this.#parts))();
    if (raw?.language === language) return raw.client();
    throw new UnsupportedError(`The database ${database.name} has no ${language} client`, { operation: language });
  }

  protected parts(): OpenParts {
    // Refuses with the state's own words unless open.
    this.#lifecycle.begin(undefined, () => isStepOf(this.#parts))();
    return this.#parts!;
  }

  private dispatch(parts: OpenParts): void {
    startDispatch(
      parts,
      deliveryTargets(parts, (name, tenant) => this.hostOutside(parts, name, tenant)),
    );
  }

  private async compose(): Promise<readonly Managed[]> {
    const { settings } = this;
    for (const doubt of settingsDoubts(settings)) this.#notices.report(doubt);
    const { databases, providers, managed } = await composeComponents(settings, this.#registry, this.#clock, (signal) =>
      this.retention.run({ signal }),
    );
    const closing = (this.#closing = new Closing(this.#clock));
    const parts: OpenParts = {
      databases,
      providers,
      defaultDatabase: settings.stores.default,
      storeDatabases: settings.stores,
      storeSettings: settings,
      events: this.#events,
      defaultProvider: settings.vectors.default,
      defaultTenant: settings.defaultTenant,
      tenancy: settings.tenancy,
      operationTimeout: settings.lifecycle.operationTimeout,
      clock: this.#clock,
      admit: (component) => {
        const end = this.#lifecycle.begin(component, () => isStepOf(parts));
        if (this.#parts === parts) return end;
        end();
        throw new StorageError('CLOSED', 'The handle is of an opening that was closed: take a new one of the manager');
      },
      report: (error) => this.#notices.report(error),
      onClosing: (listener) => closing.add(parts, listener),
      beginLoop: (stop) => closing.beginLoop(parts, stop),
    };
    this.#parts = parts;
    return managed;
  }
}
