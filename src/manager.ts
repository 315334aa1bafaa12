/** The one owner of everything a service stores: settings, pools, backends, providers, their lifecycle and their health. */
import { inspect } from 'node:util';
import { checkTenant } from './backends/value.js';
import { systemClock, type Clock } from './clock.js';
import type { CollectionHost } from './collection/host.js';
import { Database } from './database.js';
import { foreignErrorName, invalid, isStorageError, StorageError } from './errors.js';
import { HealthMonitor, type HealthReport, type Verdict } from './health.js';
import { Lifecycle, type CloseOptions, type LifecycleState, type Managed } from './lifecycle.js';
import type { MigrationHost } from './migrations/lock.js';
import { LIBRARY } from './collection/library.js';
import { Migrations } from './migrations/migrations.js';
import type { MigrationStep } from './migrations/steps.js';
import type { Pool } from './pools/pool.js';
import { createProbes, type ProbeHandler } from './probes.js';
import type { Registry } from './registry.js';
import type { Settings } from './settings.js';
import { Storage, type OpenParts, type Transaction } from './storage.js';
import { Outbox } from './unit-of-work/outbox/outbox.js';
import type { VectorProvider } from './vectors/provider.js';

export interface ManagerOptions {
  readonly registry: Registry;
  readonly settings: Settings;
  readonly clock?: Clock;
}

export interface ManagerEvents {
  /** The lifecycle's state changed; `error` tells why an opening failed. */
  state: (state: LifecycleState, error?: StorageError) => void;
}

export class StorageManager extends Storage {
  protected readonly tenantId = undefined;
  protected readonly attempt = undefined;
  /** Frozen; secrets are masked when shown. */
  readonly settings: Settings;
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #lifecycle: Lifecycle;
  readonly #health: HealthMonitor;
  readonly #listeners = new Set<ManagerEvents['state']>();
  #parts: OpenParts | undefined;

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
      onState: (state, error) => this.#listeners.forEach((listener) => listener(state, error)),
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

  /** Refuses new work, waits for work in flight (default: `lifecycle.drainTimeout`), closes everything. Never hangs. */
  close(options?: CloseOptions): Promise<void> {
    return this.#lifecycle.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * The host's versioned steps on a database. `tenant` is whose data the `tx` of a function step is bound to; default: the
   * manager's own. No I/O. @throws `VALIDATION` for malformed steps, `UNSUPPORTED` for steps the database cannot run.
   */
  migrations(
    steps: readonly MigrationStep<Transaction>[],
    options: { readonly on?: string; readonly tenant?: string } = {},
  ): Migrations<Transaction> {
    const parts = this.parts();
    const database = this.database(parts, options.on);
    const tenant = options.tenant === undefined ? this.tenantOf(parts) : checkTenant(options.tenant);
    const records = this.host(parts, database, LIBRARY.tenant);
    const transaction: MigrationHost<Transaction>['transaction'] = (work, callOptions) =>
      this.runTransaction(work, { ...callOptions, on: database.name }, tenant);
    return new Migrations({ records, transaction }, steps);
  }

  /** The delivery of what transactions have left in their outbox, of every tenant. */
  get outbox(): Outbox {
    const hostOf = (on: string | undefined): CollectionHost => {
      const parts = this.parts();
      return this.host(parts, this.database(parts, on), LIBRARY.tenant);
    };
    const onClosing = (listener: () => void): (() => void) =>
      this.on('state', (state) => state !== 'ready' && listener());
    return new Outbox(hostOf, onClosing);
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

  /** Listens until the returned function is called. */
  on<E extends keyof ManagerEvents>(event: E, listener: ManagerEvents[E]): () => void {
    if (event !== 'state') throw invalid('event', event, "'state'");
    if (typeof listener !== 'function') throw invalid('listener', listener, 'a function');
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  toJSON(): Record<string, unknown> {
    return { state: this.state, settings: this.settings };
  }

  [inspect.custom](): string {
    return `StorageManager ${inspect(this.toJSON(), { depth: 6 })}`;
  }

  protected parts(): OpenParts {
    // Refuses with the state's own words unless open.
    this.#lifecycle.begin()();
    return this.#parts!;
  }

  private async compose(): Promise<readonly Managed[]> {
    const { settings } = this;
    const managed = new Map<string, Managed>();
    const databases = await this.composeDatabases(managed);
    const providers = await this.composeProviders(databases, managed);
    const parts: OpenParts = {
      databases,
      providers,
      defaultDatabase: settings.stores.default,
      defaultProvider: settings.vectors.default,
      defaultTenant: checkTenant(settings.defaultTenant),
      tenancy: settings.tenancy,
      operationTimeout: settings.lifecycle.operationTimeout,
      clock: this.#clock,
      admit: () => {
        const end = this.#lifecycle.begin();
        if (this.#parts === parts) return end;
        end();
        throw new StorageError('CLOSED', 'The handle is of an opening that was closed: take a new one of the manager');
      },
    };
    this.#parts = parts;
    return [...managed.values()];
  }

  private async composeDatabases(managed: Map<string, Managed>): Promise<Map<string, Database>> {
    const clock = this.#clock;
    const pools = new Map<string, Pool>();
    const databases = new Map<string, Database>();
    for (const [name, { url, critical, ...options }] of Object.entries(this.settings.databases)) {
      const driver = await this.#registry.poolForUrl(url);
      const key = driver.key(url, options, name);
      const pool = pools.get(key) ?? construct(name, () => driver.create(url, options, { clock, name }));
      pools.set(key, pool);
      const shared = managed.get(pool.name)?.critical === true;
      managed.set(pool.name, { component: pool, critical: critical || shared });
      const records = `records:${name}`;
      const backendDriver = await this.#registry.backend(driver.backend);
      const backend = construct(records, () => backendDriver.create(pool, records));
      managed.set(records, { component: backend, critical, after: [pool.name] });
      databases.set(name, new Database(name, pool, backend, clock));
    }
    return databases;
  }

  private async composeProviders(
    databases: ReadonlyMap<string, Database>,
    managed: Map<string, Managed>,
  ): Promise<Map<string, VectorProvider>> {
    const clock = this.#clock;
    const providers = new Map<string, VectorProvider>();
    for (const [key, { critical, ...options }] of Object.entries(this.settings.vectors.providers)) {
      const driver = await this.#registry.provider(key);
      const name = `vectors:${driver.name}`;
      const pool = driver.pooled === true ? databases.get(options['database'] as string)?.pool : undefined;
      const environment = { clock, name, ...(pool === undefined ? {} : { pool }) };
      const provider = construct(name, () => driver.create(options, environment));
      const after = pool === undefined ? {} : { after: [pool.name] };
      managed.set(name, { component: provider, critical: critical !== false, ...after });
      providers.set(driver.name, provider);
    }
    return providers;
  }
}

/** A component's constructor is its own code, or a third party's: what it throws is told as an error that names it. */
function construct<C>(component: string, make: () => C): C {
  try {
    return make();
  } catch (error) {
    if (isStorageError(error)) throw error;
    throw new StorageError('CONFIGURATION', `${component} could not be created (${foreignErrorName(error)})`, {
      component,
      operation: 'open',
      cause: error,
    });
  }
}
