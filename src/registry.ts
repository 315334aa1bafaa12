/**
 * The one runtime registry of pools, backends and vector providers. Built-ins are one line each at the end of this file and
 * are loaded when first needed; a third party's are registered by importing the file that calls `registerPool`,
 * `registerBackend` or `registerVectorProvider`.
 */
import { invalid, StorageError } from './errors.js';
import type { BackendDriver } from './backends/backend.js';
import type { PoolDriver } from './pools/pool.js';
import { checkBackendDriver, checkPoolDriver, checkProvider, checkProviderClass } from './registration.js';
import { boundedProvider } from './vectors/bounded-provider.js';
import type { ProviderClass, ProviderDriver, ProviderOptions } from './vectors/provider.js';

type Kind = 'pool' | 'backend' | 'vector provider';
type Load<D> = () => Promise<D>;

const NAME = /^[a-z][a-z0-9_-]{0,47}$/i;

class Shelf<D> {
  private readonly loaders = new Map<string, Load<D>>();
  private readonly loaded = new Map<string, Promise<D>>();

  constructor(private readonly kind: Kind) {}

  add(name: string, load: Load<D>): void {
    if (typeof name !== 'string' || !NAME.test(name)) throw invalid(`${this.kind} name`, name, 'a name like pgvector');
    const key = name.toLowerCase();
    if (this.loaders.has(key))
      throw new StorageError('CONFIGURATION', `Two of kind ${this.kind} are registered under the name ${key}`, {
        details: { name: key },
      });
    this.loaders.set(key, load);
  }

  names(): string[] {
    return [...this.loaders.keys()].sort();
  }

  has(name: string): boolean {
    return this.loaders.has(name.toLowerCase());
  }

  async get(name: string): Promise<D> {
    const key = name.toLowerCase();
    const load = this.loaders.get(key);
    if (load === undefined)
      throw new StorageError(
        'CONFIGURATION',
        `No ${this.kind} is registered under the name ${JSON.stringify(name)}; known: ${this.names().join(', ')}`,
        { details: { name, known: this.names() } },
      );
    let driver = this.loaded.get(key);
    if (driver === undefined) {
      driver = load();
      this.loaded.set(key, driver);
      // A failed load is not remembered: the missing module may be there at the next opening.
      driver.catch(() => this.loaded.delete(key));
    }
    return driver;
  }
}

export class Registry {
  private readonly poolShelf = new Shelf<PoolDriver>('pool');
  private readonly backendShelf = new Shelf<BackendDriver>('backend');
  private readonly providerShelf = new Shelf<ProviderDriver>('vector provider');
  private readonly schemes = new Map<string, string>();
  private readonly added = new Set<string>();

  /** @throws `CONFIGURATION` when the name or one of the schemes is taken. */
  addPool(name: string, schemes: readonly string[], load: Load<PoolDriver>): void {
    for (const scheme of schemes) {
      const owner = this.schemes.get(scheme);
      if (owner !== undefined)
        throw new StorageError('CONFIGURATION', `The URL scheme ${scheme} belongs to the pool ${owner} already`);
    }
    this.poolShelf.add(name, load);
    for (const scheme of schemes) this.schemes.set(scheme, name);
  }

  addBackend(name: string, load: Load<BackendDriver>): void {
    this.backendShelf.add(name, load);
  }

  addProvider(name: string, load: Load<ProviderDriver>): void {
    this.providerShelf.add(name, load);
  }

  /** A provider that opens with every manager, configured or not: importing its file asked for it. */
  addOpeningProvider(driver: ProviderDriver): void {
    this.addProvider(driver.name, () => Promise.resolve(driver));
    this.added.add(driver.name);
  }

  addedProviders(): string[] {
    return [...this.added];
  }

  /** The pool of a URL's scheme. @throws `CONFIGURATION` for a scheme nobody registered, naming the known ones. */
  async poolForUrl(url: string): Promise<PoolDriver> {
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
    const name = scheme === undefined ? undefined : this.schemes.get(scheme);
    if (name === undefined)
      throw new StorageError(
        'CONFIGURATION',
        `The URL's scheme ${scheme === undefined ? 'is missing' : `${scheme} is unknown`}; known: ${this.knownSchemes().join(', ')}`,
        { details: { scheme, known: this.knownSchemes() } },
      );
    return this.poolShelf.get(name);
  }

  backend(name: string): Promise<BackendDriver> {
    return this.backendShelf.get(name);
  }

  provider(name: string): Promise<ProviderDriver> {
    return this.providerShelf.get(name);
  }

  hasProvider(name: string): boolean {
    return this.providerShelf.has(name);
  }

  knownSchemes(): string[] {
    return [...this.schemes.keys()].sort();
  }

  names(): { pools: string[]; backends: string[]; providers: string[] } {
    return {
      pools: this.poolShelf.names(),
      backends: this.backendShelf.names(),
      providers: this.providerShelf.names(),
    };
  }

  pool(name: string): Promise<PoolDriver> {
    return this.poolShelf.get(name);
  }
}

export const registry = new Registry();

/**
 * Adds a pool: its URL schemes, its settings, its client library.
 * @throws `CONFIGURATION` when a name is taken; `VALIDATION` for what is no pool.
 */
export function registerPool(driver: PoolDriver): void {
  checkPoolDriver(driver);
  registry.addPool(driver.name, driver.schemes, () => Promise.resolve(driver));
}

/** Adds a record backend. @throws `CONFIGURATION` when the name is taken; `VALIDATION` for what is no backend. */
export function registerBackend(driver: BackendDriver): void {
  checkBackendDriver(driver);
  registry.addBackend(driver.name, () => Promise.resolve(driver));
}

/**
 * Adds a vector provider; names are case-insensitive. As a decorator (standard or `experimentalDecorators`):
 * `@registerVectorProvider('mine', { settings }) class Mine implements VectorProvider {}`; as a function:
 * `registerVectorProvider('mine', { settings })(Mine)`. A provider that lacks a method is refused when a manager opens.
 * @throws `CONFIGURATION` when the name is taken; `VALIDATION` for what is no class, or an option that there is not.
 */
export function registerVectorProvider(
  name: string,
  options: ProviderOptions = {},
): <C extends ProviderClass>(target: C, context?: unknown) => void {
  return (target) => {
    registry.addOpeningProvider(vectorProviderDriver(name, target, options));
  };
}

function vectorProviderDriver(name: string, target: ProviderClass, options: ProviderOptions): ProviderDriver {
  if (typeof name !== 'string') throw invalid('vector provider name', name, 'a name like pgvector');
  checkProviderClass(target, options);
  return {
    ...options,
    name: name.toLowerCase(),
    create(settings, environment) {
      const provider = new target(settings, environment);
      checkProvider(provider, name, environment.name);
      return boundedProvider(provider, environment);
    },
  };
}

registry.addPool('pglite', ['pglite'], async () => (await import('./pools/pglite/index.js')).pglite);
registry.addPool('sqlite', ['sqlite'], async () => (await import('./pools/sqlite/index.js')).sqlite);
registry.addPool('memory', ['memory'], async () => (await import('./pools/memory.js')).memory);
registry.addBackend('sql', async () => (await import('./backends/sql/index.js')).sql);
registry.addBackend('memory', async () => (await import('./backends/memory.js')).memory);
registry.addProvider('pgvector', async () => (await import('./vectors/pgvector.js')).pgvector);
registry.addProvider('chroma', async () => (await import('./vectors/chroma.js')).chroma);
registry.addProvider('memory', async () => (await import('./vectors/memory.js')).memory);
registry.addProvider('pinecone', async () => (await import('./vectors/pinecone.js')).pinecone);
registry.addPool(
  'postgres',
  ['postgresql', 'postgres'],
  async () => (await import('./pools/postgres/index.js')).postgres,
);
registry.addPool('mongo', ['mongodb', 'mongodb+srv'], async () => (await import('./pools/mongo/index.js')).mongo);
registry.addBackend('mongo', async () => (await import('./backends/mongo/index.js')).mongo);
