/** Reading entries: by key, by prefix, and what they take. */
import type { JsonValue, RecordCapabilities } from '../../backends/backend.js';
import type { CallOptions, OperationContext } from '../../component.js';
import { preparePage, type ListPage, type PageOptions } from '../page.js';
import type { StoreHost } from '../host.js';
import { callOptions, Store } from '../store.js';
import type { Unit } from '../unit.js';
import { keyReader, namespaceReader, readAddress, readKeys, readOptions } from './arguments.js';
import { bareUnit } from './bare-unit.js';
import { countUsage } from './count.js';
import { KV } from './definition.js';
import { ENTRIES } from './entries.js';
import { entryOf, idOf, isLive, liveAt, present, type Address, type Entry, type KeyValue } from './entry.js';
import type { Quotas } from './usage.js';

export interface ListEntriesOptions extends PageOptions {
  /** Only keys that begin with it. */
  readonly prefix?: string | undefined;
}

export interface NamespaceUsage {
  /** Of the values, as compact JSON in UTF-8; keys and namespaces are not counted, nor is what has expired. */
  readonly bytes: number;
  readonly entries: number;
  /** Bytes; null: none. */
  readonly quota: number | null;
}

/** What the store can do on its database. */
export interface KeyValueCapabilities {
  /** Everything that is done to one entry, without quotas. */
  readonly entries: boolean;
  /** `setMany` and `deleteMany` of more than one key. */
  readonly batches: boolean;
  /** `namespaceQuotaBytes` and `tenantQuotaBytes`. Where false, the settings must be 0 or writes are refused. */
  readonly quotas: boolean;
  /** `globalQuotaBytes`. */
  readonly globalQuota: boolean;
  readonly locks: boolean;
  readonly watch: false;
  readonly incrementFloat: false;
}

export abstract class KeyValueReader extends Store {
  protected readonly quotas: Quotas;

  constructor(host: StoreHost) {
    super(KV, host);
    const { namespaceQuotaBytes: namespace, tenantQuotaBytes: tenant, globalQuotaBytes: global } = host.settings.kv;
    this.quotas = { namespace, tenant, global };
  }

  get capabilities(): KeyValueCapabilities {
    const { batch, transactions } = this.limits;
    const atomic = batch === 'atomic';
    return {
      entries: true,
      batches: atomic,
      quotas: atomic,
      globalQuota: atomic && transactions !== 'none',
      locks: true,
      watch: false,
      incrementFloat: false,
    };
  }

  /** `Value` is what the caller takes the stored JSON for: nothing checks it, here and wherever one is named. */
  async get<Value = JsonValue>(namespace: string, key: string, options: CallOptions = {}): Promise<KeyValue<Value>> {
    const at = readAddress(namespace, key);
    readOptions(options, {});
    return this.find<Value>('get', at, options);
  }

  /** In the order of the keys, at most 1,000; one that is asked for twice is given twice. */
  async getMany<Value = JsonValue>(
    namespace: string,
    keys: readonly string[],
    options: CallOptions = {},
  ): Promise<KeyValue<Value>[]> {
    const owner = namespaceReader(namespace, 'namespace');
    const addresses = readKeys(keys).map((key) => ({ namespace: owner, key }));
    readOptions(options, {});
    return this.run('getMany', options, async (context) => {
      const ids = addresses.map(idOf);
      const distinct = [...new Set(ids)];
      const found = await this.unitAt(context).findMany(ENTRIES, distinct);
      const byId = new Map(distinct.map((id, i) => [id, found[i]]));
      return addresses.map((at, i) => structuredClone(present(at, byId.get(ids[i]!), context.now) as KeyValue<Value>));
    });
  }

  async has(namespace: string, key: string, options: CallOptions = {}): Promise<boolean> {
    const at = readAddress(namespace, key);
    readOptions(options, {});
    return (await this.find('has', at, options)).found;
  }

  /** How long an entry lives yet, in seconds: `undefined` when it is not there, null when it never expires. */
  async ttl(namespace: string, key: string, options: CallOptions = {}): Promise<number | null | undefined> {
    const at = readAddress(namespace, key);
    readOptions(options, {});
    const entry = await this.find('ttl', at, options);
    return entry.found ? (entry.ttlSeconds ?? null) : undefined;
  }

  /**
   * The entries of a namespace in the order of their keys (by code point). A page may have fewer than `limit` although
   * there is a `next`: what expires meanwhile is left out. @throws `VALIDATION`, `INVALID_CURSOR`
   */
  async list<Value = JsonValue>(namespace: string, options: ListEntriesOptions = {}): Promise<ListPage<Entry<Value>>> {
    const owner = namespaceReader(namespace, 'namespace');
    const { prefix } = readOptions(options, {
      prefix: keyReader,
      limit: (value) => value,
      after: (value) => value,
    });
    const filter = prefix === undefined ? { namespace: owner } : { namespace: owner, key: { $startsWith: prefix } };
    const page = await this.run(
      'list',
      options,
      preparePage(this.host, ENTRIES, filter, { key: 'asc' }, options, (record) => record),
    );
    const now = this.host.clock.now();
    const live = page.items.filter((record) => isLive(record, now));
    return { ...page, items: live.map((record) => entryOf(record, now) as Entry<Value>) };
  }

  /** Those that have entries, in their order; counts them all in the database. @throws `VALIDATION` for more than 10,000 */
  async listNamespaces(options: CallOptions = {}): Promise<string[]> {
    readOptions(options, {});
    const call = callOptions(options);
    const rows = await this.run('listNamespaces', call, ({ now }) =>
      this.records(ENTRIES).aggregate(liveAt(now), { by: ['namespace'] }, call),
    );
    return rows.map(({ key }) => key['namespace'] as string);
  }

  /** What a namespace takes now, added up by the database from its entries. */
  async usage(namespace: string, options: CallOptions = {}): Promise<NamespaceUsage> {
    const owner = namespaceReader(namespace, 'namespace');
    readOptions(options, {});
    const { backend, tenant } = this.host;
    return this.run('usage', options, async (context) => ({
      ...(await countUsage(backend, { tenant }, { namespace: owner, ...liveAt(context.now) }, context)),
      quota: this.quotas.namespace === 0 ? null : this.quotas.namespace,
    }));
  }

  protected get limits(): RecordCapabilities {
    return this.host.backend.capabilities;
  }

  protected find<Value>(operation: string, at: Address, options: CallOptions): Promise<KeyValue<Value>> {
    return this.run(operation, options, async (context) => {
      const record = await this.unitAt(context).find(ENTRIES, idOf(at));
      return present(at, record, context.now) as KeyValue<Value>;
    });
  }

  protected unitAt(context: OperationContext): Unit {
    return bareUnit(this.host.backend, this.host.tenant, context);
  }
}
