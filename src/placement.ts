/** Where an operation of a handle takes place: on which database or provider, for which tenant, in which transaction. */
import { Admission } from './admission.js';
import type { RecordSchema } from './backends/backend.js';
import type { CollectionDefinition } from './collection/definition.js';
import type { CollectionHost } from './collection/host.js';
import type { AdmittedCall, BeginOperation } from './component.js';
import type { Database } from './database.js';
import { invalid, StorageError, UnsupportedError, ValidationError } from './errors.js';
import { checkCallOptions, checkProviderName, type OpenParts } from './opening.js';
import type { Pool } from './pools/pool.js';
import { refuseInsideTransaction, type Attempt } from './unit-of-work/attempt.js';
import type { VectorProvider } from './vectors/provider.js';
import { VectorStore } from './vectors/vector-store.js';

export class Placement {
  /** @param ofTenant `undefined`: the manager's own, which is the default tenant's unless one is required. */
  constructor(
    readonly parts: OpenParts,
    private readonly ofTenant: string | undefined,
    private readonly attempt: Attempt | undefined,
  ) {}

  /** @throws `VALIDATION` where a tenant is required and none is named. */
  get tenant(): string {
    if (this.ofTenant !== undefined) return this.ofTenant;
    if (this.parts.tenancy === 'required')
      throw new ValidationError('VALIDATION', "A tenant is required (tenancy: 'required'): use storage.tenant(id)");
    return this.parts.defaultTenant;
  }

  /** @throws `VALIDATION` for an unknown name, `UNSUPPORTED` for another database than the transaction's. */
  database(name: string | undefined): Database {
    const { parts, attempt } = this;
    const key = name === undefined ? (attempt?.database ?? parts.defaultDatabase) : name;
    const database = parts.databases.get(key);
    if (database === undefined)
      throw new ValidationError(
        'VALIDATION',
        `No database ${JSON.stringify(key)} in the settings; known: ${[...parts.databases.keys()].sort().join(', ')}`,
        { details: { key: 'on', known: [...parts.databases.keys()].sort() } },
      );
    if (attempt !== undefined && attempt.pool !== database.pool)
      throw new UnsupportedError(
        `The transaction is not one of the database ${database.name}; what tx.deliver leaves is done there after the commit`,
      );
    return database;
  }

  /** The database of a collection, which knows it from now on. */
  declared<T, In>(definition: CollectionDefinition<T, In, string>, on: string | undefined): Database {
    if (typeof definition !== 'object' || definition === null || typeof definition.domain !== 'object')
      throw invalid('collection', definition, 'what defineCollection gives');
    const database = this.database(on);
    database.declare(definition.schema);
    return database;
  }

  /**
   * What collections of `database` stand on.
   * @param schemas in a transaction its run ends here where their tables are not known to be there, before a call is begun.
   * @throws `UNAVAILABLE` then
   */
  records(database: Database, schemas: readonly RecordSchema[], tenant = this.tenant): CollectionHost {
    this.requireTables(database, schemas);
    const { attempt } = this;
    return {
      backend: database.backend,
      tenant,
      clock: database.clock,
      begin: this.beginOn(database),
      during: attempt?.during,
      admit: this.admitOn(database.pool, database.pool.name),
      ensure: (schemas, context) => {
        if (attempt?.missing === undefined && database.has(schemas)) return undefined;
        if (attempt !== undefined) return attempt.failMissing((outside) => database.make(schemas, outside), context);
        return database.make(schemas, context);
      },
    };
  }

  /** @throws in a transaction, whose run is over, where they are not known to be there */
  requireTables(database: Database, schemas: readonly RecordSchema[]): void {
    const { attempt } = this;
    if (attempt === undefined || database.has(schemas)) return;
    throw attempt.markMissing((outside) => database.make(schemas, outside));
  }

  /** @param forTenant whether it may not make collections. @throws `CONFIGURATION` for an unknown name. */
  vectors(name: string | undefined, forTenant: boolean): VectorStore {
    const { parts } = this;
    const { provider } = this.provider(name);
    const tenant = this.ofTenant ?? (parts.tenancy === 'required' ? undefined : parts.defaultTenant);
    const begin = this.begin(provider.pool, provider.name);
    return new VectorStore(
      provider,
      tenant,
      begin,
      parts.clock,
      forTenant,
      this.attempt?.during,
      this.admitOn(provider.pool, provider.name),
    );
  }

  /** Without a name the settings' default. @throws `CONFIGURATION` for an unknown name. */
  provider(name: string | undefined): { readonly key: string; readonly provider: VectorProvider } {
    const { parts } = this;
    const key = checkProviderName(name ?? parts.defaultProvider, parts);
    const provider = parts.providers.get(key);
    if (provider !== undefined) return { key, provider };
    const known = [...parts.providers.keys()].sort();
    throw new StorageError(
      'CONFIGURATION',
      `No vector provider ${JSON.stringify(key)} is open, only ${known.join(', ')}: one is opened that is vectors.default, or has settings of its own under vectors.${key}`,
      { details: { name: key, known } },
    );
  }

  /** Admits calls of several steps, outside of transactions. */
  private admitOn(pool: Pool | undefined, component: string): ((operation: string) => AdmittedCall) | undefined {
    const { parts, attempt } = this;
    if (attempt !== undefined) return undefined;
    return (operation) => {
      if (pool !== undefined) refuseInsideTransaction(pool, operation);
      return new Admission(parts, parts.admit(component));
    };
  }

  /** Admits the operations of a database. */
  beginOn({ pool, name, clock }: Database): BeginOperation {
    return this.begin(pool, name, pool.name, clock);
  }

  /**
   * Admits the operations of a database or a provider.
   * @param component what has to be open @throws `UNSUPPORTED` for one the transaction cannot be of.
   */
  begin(pool: Pool | undefined, name: string, component = name, clock = this.parts.clock): BeginOperation {
    const { parts, attempt } = this;
    if (attempt !== undefined) {
      if (pool !== attempt.pool)
        throw new UnsupportedError(
          `${name} cannot take part in this transaction: it is another database or service; what tx.deliver leaves is done there after the commit`,
        );
      return (operation, options = {}) => {
        checkCallOptions(options);
        return attempt.begin(operation, options);
      };
    }
    return (operation, options = {}) => {
      checkCallOptions(options);
      if (pool !== undefined) refuseInsideTransaction(pool, operation);
      const end = parts.admit(component);
      const { operationTimeout } = parts;
      const deadline = clock.monotonic() + (options.timeout ?? operationTimeout);
      const context = { now: clock.now(), deadline, signal: options.signal };
      return { context, component: name, usualTimeout: operationTimeout, end };
    };
  }
}
