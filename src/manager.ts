/** The one owner of everything a service stores: settings, pools, backends, providers, their lifecycle and their health. */
import { inspect } from 'node:util';
import { systemClock, type Clock } from './clock.js';
import { Database } from './database.js';
import { foreignErrorName, invalid, isStorageError, StorageError } from './errors.js';
import { HealthMonitor, type HealthReport, type Verdict } from './health.js';
import { Lifecycle, type CloseOptions, type LifecycleState, type Managed } from './lifecycle.js';
import type { Pool } from './pools/pool.js';
import { createProbes, type ProbeHandler } from './probes.js';
import type { Registry } from './registry.js';
import type { Settings } from './settings.js';
import { Storage, type OpenParts } from './storage.js';
import type { VectorProvider } from './vectors/provider.js';

export interface ManagerOptions {
  readonly registry: Registry;
  /** Read anew at every opening. */
  readonly loadSettings: () => Promise<Settings>;
  readonly clock?: Clock;
}

export interface ManagerEvents {
  /** The lifecycle's state changed; `error` tells why an opening failed. */
  state: (state: LifecycleState, error?: StorageError) => void;
}

export class StorageManager extends Storage {
  protected readonly tenantId = undefined;
  protected readonly attempt = undefined;
  readonly #registry: Registry;
  readonly #loadSettings: () => Promise<Settings>;
  readonly #clock: Clock;
  readonly #lifecycle: Lifecycle;
  readonly #health: HealthMonitor;
  readonly #listeners = new Set<ManagerEvents['state']>();
  #settings: Settings | undefined;
  #parts: OpenParts | undefined;

  constructor(options: ManagerOptions) {
    super();
    this.#registry = options.registry;
    this.#loadSettings = options.loadSettings;
    this.#clock = options.clock ?? systemClock;
    // The timeouts are the settings', and those are read by the opening itself.
    this.#lifecycle = new Lifecycle({
      components: () => this.compose(),
      clock: this.#clock,
      timeouts: () => this.#settings?.lifecycle,
      onState: (state, error) => this.#listeners.forEach((listener) => listener(state, error)),
    });
    this.#health = new HealthMonitor({
      components: () => this.#lifecycle.components(),
      lifecycle: this.#lifecycle,
      clock: this.#clock,
      settings: () => this.#settings?.health,
    });
  }

  get state(): LifecycleState {
    return this.#lifecycle.state;
  }

  /** Frozen; secrets are masked when shown. @throws `CLOSED` before the first opening has read them. */
  get settings(): Settings {
    if (this.#settings === undefined) throw new StorageError('CLOSED', 'The settings are read when the manager opens');
    return this.#settings;
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
    if (event !== 'state') throw invalid('event', event, "'state'");
    if (typeof listener !== 'function') throw invalid('listener', listener, 'a function');
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  toJSON(): Record<string, unknown> {
    return { state: this.state, settings: this.#settings };
  }

  [inspect.custom](): string {
    return `StorageManager ${inspect(this.toJSON(), { depth: 6 })}`;
  }

  protected parts(): OpenParts {
    if (this.#parts === undefined) this.#lifecycle.begin();
    return this.#parts!;
  }

  private async compose(): Promise<readonly Managed[]> {
    const settings = (this.#settings = await this.#loadSettings());
    const clock = this.#clock;
    const managed = new Map<string, Managed>();
    const pools = new Map<string, Pool>();
    const databases = new Map<string, Database>();
    for (const [name, { url, critical, ...options }] of Object.entries(settings.databases)) {
      const driver = await this.#registry.poolForUrl(url);
      const key = driver.key(url, options, name);
      const pool = pools.get(key) ?? construct(name, () => driver.create(url, options, { clock, name }));
      pools.set(key, pool);
      const shared = managed.get(pool.name);
      managed.set(pool.name, { component: pool, critical: critical || shared?.critical === true });
      const backend = (await this.#registry.backend(driver.backend)).create(pool, `records:${name}`);
      managed.set(backend.name, { component: backend, critical, after: [pool.name] });
      databases.set(name, new Database(name, pool, backend, clock));
    }
    const providers = new Map<string, VectorProvider>();
    for (const [name, { critical, ...options }] of Object.entries(settings.vectors.providers)) {
      const driver = await this.#registry.provider(name);
      const pool = driver.pooled === true ? databases.get(options['database'] as string)?.pool : undefined;
      const component = `vectors:${driver.name}`;
      const environment = { clock, name: component, ...(pool === undefined ? {} : { pool }) };
      const provider = construct(component, () => driver.create(options, environment));
      const after = pool === undefined ? {} : { after: [pool.name] };
      managed.set(component, { component: provider, critical: critical !== false, ...after });
      providers.set(driver.name, provider);
    }
    this.#parts = {
      databases,
      providers,
      defaultDatabase: settings.stores.default,
      defaultProvider: settings.vectors.default,
      defaultTenant: settings.defaultTenant,
      tenancy: settings.tenancy,
      operationTimeout: settings.lifecycle.operationTimeout,
      clock,
      admit: this.admission(),
    };
    return [...managed.values()];
  }
}
