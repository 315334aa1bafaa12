/** The one owner of everything a service stores: settings, pools, backends, providers, their lifecycle and their health. */
import { isDeepStrictEqual } from 'node:util';
import { checkTenant } from './backends/value.js';
import { systemClock, type Clock } from './clock.js';
import { Database } from './database.js';
import { namingOrigin } from './database/origin.js';
import { Tables } from './database/tables.js';
import { foreignErrorName, invalid, isStorageError, StorageError } from './errors.js';
import { HealthMonitor, type HealthReport, type Verdict } from './health.js';
import { Lifecycle, type CloseOptions, type LifecycleState, type Managed } from './lifecycle.js';
import type { Pool } from './pools/pool.js';
import { createProbes, type ProbeHandler } from './probes.js';
import type { Registry } from './registry.js';
import { urlSource, type Settings } from './settings.js';
import { Storage, type OpenParts } from './storage.js';
import type { VectorProvider } from './vectors/provider.js';

export interface ManagerOptions {
  readonly registry: Registry;
  readonly settings: Settings;
  readonly clock?: Clock;
}

export interface ManagerEvents {
  /** The lifecycle's state changed; `error` tells why an opening failed. */
  state: (state: LifecycleState, error?: StorageError) => void;
  /**
   * Something failed that no caller waits for: `onCommit` hooks of a transaction that is committed (`details.committed`). It
   * becomes a warning of the process when nobody listens.
   */
  error: (error: StorageError) => void;
}

export class StorageManager extends Storage {
  protected readonly tenantId = undefined;
  protected readonly attempt = undefined;
  protected readonly forTenant = false;
  /** Frozen; secrets are masked when shown. */
  readonly settings: Settings;
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #lifecycle: Lifecycle;
  readonly #health: HealthMonitor;
  readonly #listeners: { readonly [E in keyof ManagerEvents]: Set<ManagerEvents[E]> } = {
    state: new Set(),
    error: new Set(),
  };
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
      onState: (state, error) => this.#listeners.state.forEach((listener) => listener(state, error)),
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
    if (!Object.hasOwn(this.#listeners, event)) throw invalid('event', event, "'state' or 'error'");
    if (typeof listener !== 'function') throw invalid('listener', listener, 'a function');
    const listeners = this.#listeners[event];
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  override toJSON(): Record<string, unknown> {
    return { state: this.state, settings: this.settings };
  }

  protected parts(): OpenParts {
    // Refuses with the state's own words unless open.
    this.#lifecycle.begin()();
    return this.#parts!;
  }

  private report(error: StorageError): void {
    const listeners = this.#listeners.error;
    if (listeners.size === 0) warn(error.message);
    for (const listener of listeners) {
      try {
        listener(error);
      } catch (fault) {
        // What it was told of is over and stands, whatever the listener makes of it.
        warn(`A listener of the event error threw (${foreignErrorName(fault)})`);
      }
    }
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
      report: (error) => this.report(error),
    };
    this.#parts = parts;
    return [...managed.values()];
  }

  private async composeDatabases(managed: Map<string, Managed>): Promise<Map<string, Database>> {
    const clock = this.#clock;
    const pools = new Map<string, PooledDatabase>();
    const databases = new Map<string, Database>();
    for (const [name, { url, critical, ...options }] of Object.entries(this.settings.databases)) {
      const driver = await this.#registry.poolForUrl(url);
      const key = driver.key(url, options, name);
      const first = pools.get(key);
      if (first !== undefined && !isDeepStrictEqual(first.options, options)) throw unequalOptions(first.name, name);
      const pool = first?.pool ?? construct(name, () => driver.create(url, options, { clock, name }));
      const tables = first?.tables ?? new Tables(clock, this.settings.lifecycle.operationTimeout);
      if (first === undefined) pools.set(key, { name, options, pool, tables });
      const shared = managed.get(pool.name)?.critical === true;
      const source = urlSource(this.settings, pool.name);
      const component = source === undefined ? pool : namingOrigin(pool, `databases.${pool.name}.url`, source);
      managed.set(pool.name, { component, critical: critical || shared });
      const records = `records:${name}`;
      const backendDriver = await this.#registry.backend(driver.backend);
      const backend = construct(records, () => backendDriver.create(pool, records));
      managed.set(records, { component: backend, critical, after: [pool.name] });
      databases.set(name, new Database(name, pool, backend, clock, tables));
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

/** The first database of a URL: later ones share its pool and its tables. */
interface PooledDatabase {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly pool: Pool;
  readonly tables: Tables;
}

function warn(message: string): void {
  process.emitWarning(message, 'StorageWarning');
}

function unequalOptions(first: string, second: string): StorageError {
  return new StorageError(
    'CONFIGURATION',
    `databases.${first} and databases.${second} are one database, with one pool, but their options differ: make them equal`,
    { operation: 'open', details: { databases: [first, second] } },
  );
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
