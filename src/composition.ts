/** From settings to components: which pool, backend and provider each database and vector provider has. No I/O. */
import { isDeepStrictEqual } from 'node:util';
import type { RetentionReport } from './adapters/retention.js';
import type { RecordBackend, RecordSchema } from './backends/backend.js';
import { offsetClock, type Clock } from './clock.js';
import type { Component } from './component.js';
import { construct, constructBackend, constructPool } from './construct.js';
import { Database } from './database.js';
import { showingUrl, tellingRefusal } from './database/checked.js';
import { namingOrigin } from './database/origin.js';
import { Tables } from './database/tables.js';
import { StorageError } from './errors.js';
import type { Managed } from './lifecycle.js';
import { checkSchemaVersion } from './migrations/schema-version.js';
import { OutboxHealth } from './outbox-health.js';
import type { Pool } from './pools/pool.js';
import type { Registry } from './registry.js';
import { RetentionRuns } from './retention-runs.js';
import { shownUrl, urlSource, type Settings } from './settings.js';
import { Sweeper } from './sweeper.js';
import { OUTBOX_TABLES } from './unit-of-work/outbox/records.js';
import type { VectorProvider } from './vectors/provider.js';

export interface Composition {
  readonly databases: ReadonlyMap<string, Database>;
  readonly providers: ReadonlyMap<string, VectorProvider>;
  readonly managed: readonly Managed[];
}

/**
 * @param retain one run of the retention, on what is composed here
 * @throws `CONFIGURATION`, also for what a component's constructor throws.
 */
export async function composeComponents(
  settings: Settings,
  registry: Registry,
  clock: Clock,
  retain: (signal: AbortSignal) => Promise<RetentionReport>,
): Promise<Composition> {
  const managed = new Map<string, Managed>();
  const databases = await composeDatabases(settings, registry, clock, managed);
  const providers = await composeProviders(settings, registry, clock, databases, managed);
  const { interval } = settings.retention;
  if (interval > 0) {
    const component = new RetentionRuns({ name: 'retention:stores', clock, interval, run: retain });
    const after = [...databases.keys()].map((name) => `records:${name}`);
    managed.set(component.name, { component, critical: false, after });
  }
  return { databases, providers, managed: [...managed.values()] };
}

/** The first database of a URL: later ones share its pool and its tables. */
interface PooledDatabase {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly pool: Pool;
  readonly tables: Tables;
}

async function composeDatabases(
  settings: Settings,
  registry: Registry,
  clock: Clock,
  managed: Map<string, Managed>,
): Promise<Map<string, Database>> {
  const pools = new Map<string, PooledDatabase>();
  const databases = new Map<string, Database>();
  for (const [name, { url, critical, ...options }] of Object.entries(settings.databases)) {
    const driver = await registry.poolForUrl(url);
    const key = driver.key(url, options, name);
    const first = pools.get(key);
    if (first !== undefined && !isDeepStrictEqual(first.options, options)) throw unequalOptions(first.name, name);
    const pool = first?.pool ?? constructPool(name, () => driver.create(url, options, { clock, name }));
    const tables = first?.tables ?? new Tables(clock, settings.lifecycle, checkSchemaVersion);
    const shared = managed.get(pool.name)?.critical === true;
    const component = namingUrl(
      showingUrl(pool, shownUrl(settings, pool.name)),
      settings,
      `databases.${pool.name}.url`,
    );
    managed.set(pool.name, { component, critical: critical || shared });
    const records = `records:${name}`;
    const backendDriver = await registry.backend(driver.backend);
    const backend = constructBackend(records, () => backendDriver.create(pool, records));
    // One clock a database, so that leases and expiry mean the same on every host.
    const serverClock = offsetClock(clock, () => pool.clockOffset ?? 0);
    managed.set(records, {
      component: tellingRefusal(backend, tables, serverClock),
      critical,
      after: [pool.name],
    });
    databases.set(name, new Database(name, pool, backend, serverClock, tables));
    if (first !== undefined) continue;
    pools.set(key, { name, options, pool, tables });
    const sweeper = sweeperOf(name, backend, tables, serverClock, settings.lifecycle.sweepInterval);
    managed.set(sweeper.name, { component: sweeper, critical: false, after: [records] });
    const outbox = new OutboxHealth({
      name: `outbox:${name}`,
      backend,
      clock: serverClock,
      maxAge: settings.outbox.maxAge,
      isUsed: () => tables.has(OUTBOX_TABLES),
    });
    managed.set(outbox.name, { component: outbox, critical: false, after: [records] });
  }
  return databases;
}

function sweeperOf(database: string, backend: RecordBackend, tables: Tables, clock: Clock, interval: number): Sweeper {
  const collections = (): readonly RecordSchema[] => tables.made();
  return new Sweeper({ name: `sweeper:${database}`, backend, collections, clock, interval });
}

async function composeProviders(
  settings: Settings,
  registry: Registry,
  clock: Clock,
  databases: ReadonlyMap<string, Database>,
  managed: Map<string, Managed>,
): Promise<Map<string, VectorProvider>> {
  const providers = new Map<string, VectorProvider>();
  for (const [key, { critical, ...options }] of Object.entries(settings.vectors.providers)) {
    const driver = await registry.provider(key);
    const name = `vectors:${driver.name}`;
    const pool = driver.pooled === true ? databases.get(options['database'] as string)?.pool : undefined;
    const environment = { clock, name, ...(pool === undefined ? {} : { pool }) };
    const provider = construct(name, () => driver.create(options, environment));
    const after = pool === undefined ? {} : { after: [pool.name] };
    const component = namingUrl(provider, settings, `vectors.${key}.url`);
    managed.set(name, { component, critical: critical !== false, ...after });
    providers.set(driver.name, provider);
  }
  return providers;
}

/** Whoever fails to open says where its URL is from. */
function namingUrl(component: Component, settings: Settings, key: string): Component {
  const source = urlSource(settings, key);
  return source === undefined ? component : namingOrigin(component, key, source);
}

function unequalOptions(first: string, second: string): StorageError {
  return new StorageError(
    'CONFIGURATION',
    `databases.${first} and databases.${second} are one database, with one pool, but their options differ: make them equal`,
    { operation: 'open', details: { databases: [first, second] } },
  );
}
