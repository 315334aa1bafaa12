/** Writing and deleting several entries, and counting anew what they take. */
import { jsonBytes } from '../../backends/value.js';
import { LIBRARY } from '../../collection/library.js';
import type { CallOptions } from '../../component.js';
import { invalid, UnsupportedError } from '../../errors.js';
import { shape } from '../arguments.js';
import { callOptions } from '../store.js';
import { COUNTED } from './accounting.js';
import { keyReader, namespaceReader, readKeys, readOptions, readValue, ttlReader } from './arguments.js';
import { bareUnit } from './bare-unit.js';
import { countUsage, type Counted } from './count.js';
import { ENTRIES } from './entries.js';
import { idOf, isLive, type Address, type Entry, type Sized } from './entry.js';
import { GLOBAL, namespaceCounter, TENANT_COUNTER, USAGE } from './usage.js';
import { KeyValueWriter, TTL, type Deletion, type SetOptions } from './writer.js';

export interface SetManyItem {
  readonly key: string;
  readonly value: unknown;
  /** As in `SetOptions`. */
  readonly ttlSeconds?: number | null | undefined;
}

/** Entries that one step of `clear` deletes: each is a patch of its own, and PostgreSQL takes 40 of those in a statement. */
const CLEARED = 32;
/** Records of a batch that are not entries: the counters of the namespace and of the tenant. */
const COUNTERS = 2;
/** Bytes that one record takes of a batch at most, beside the value, the namespace and the key: names, times, a mark. */
const RECORD_OVERHEAD_BYTES = 256;

const ITEM = shape({ key: keyReader, value: (value) => value, ttlSeconds: optionalTtl });

export abstract class KeyValueBulk extends KeyValueWriter {
  /**
   * As `set`, of up to 998 keys and 8 MiB: all of them or none. The bytes are those of the values, and for each the namespace,
   * the key and 256 more. @throws as `set`; `UNSUPPORTED` without atomic batches
   */
  async setMany(namespace: string, items: readonly SetManyItem[], options: SetOptions = {}): Promise<Entry[]> {
    const owner = namespaceReader(namespace, 'namespace');
    const { ttlSeconds } = readOptions(options, TTL);
    const read = this.readItems(owner, items);
    if (read.length === 0) return [];
    this.requireBatches('setMany', read.length);
    // In one order in every batch: two that lock in opposite orders would wait for each other.
    const inOrder = [...read].sort((a, b) => (a.id < b.id ? -1 : 1));
    const written = await this.change('setMany', options, async (entries) => {
      const met = entries.counted ? await entries.readMany(inOrder.map(({ at }) => at)) : undefined;
      const outcomes = inOrder.map(({ at, stored, ttl = ttlSeconds }, i) => {
        const expiresAt = this.expiry(ttl, entries.unit);
        return met === undefined
          ? entries.put(at, stored, expiresAt)
          : entries.write(met[i]!, stored, expiresAt, false);
      });
      return () => new Map(inOrder.map(({ id }, i) => [id, outcomes[i]!()]));
    });
    return read.map(({ id }) => written.get(id)!);
  }

  /** Up to 998 keys in one atomic step, in their order. @throws `UNSUPPORTED` without atomic batches */
  async deleteMany(namespace: string, keys: readonly string[], options: CallOptions = {}): Promise<Deletion[]> {
    const owner = namespaceReader(namespace, 'namespace');
    const addresses = readKeys(keys).map((key) => ({ namespace: owner, key }));
    readOptions(options, {});
    const distinct = [...new Map(addresses.map((at) => [at.key, at])).values()];
    const most = this.limits.maxBatchItems - COUNTERS;
    if (distinct.length > most) throw invalid('keys', keys, `at most ${most} keys`);
    if (distinct.length === 0) return [];
    this.requireBatches('deleteMany', distinct.length);
    const inOrder = distinct.map((at) => ({ at, id: idOf(at) })).sort((a, b) => (a.id < b.id ? -1 : 1));
    const gone = await this.shrink('deleteMany', options, async (entries) => {
      const met = await entries.readMany(inOrder.map(({ at }) => at));
      const live = met.filter((entry) => entry.live !== undefined);
      for (const entry of live) entries.remove(entry, false);
      return () => new Set(live.map(({ at }) => at.key));
    });
    return addresses.map((at) => ({ ...at, deleted: gone.has(at.key) }));
  }

  /** Deletes every entry of a namespace, in steps: a call that was cut short is finished by the next. Gives the number. */
  async clear(namespace: string, options: CallOptions & { readonly all: true }): Promise<number> {
    const owner = namespaceReader(namespace, 'namespace');
    readOptions(options, { all: (value) => value });
    if (options.all !== true) throw invalid('options.all', options.all, 'true: every entry of the namespace');
    const call = callOptions(options);
    if (!this.counted)
      return this.run('clear', call, () => this.records(ENTRIES).deleteWhere({ namespace: owner }, call));
    return this.steps('clear', () => this.clearCounted(owner, call));
  }

  private async clearCounted(owner: string, call: CallOptions): Promise<number> {
    for (let deleted = 0; ;) {
      const step = await this.shrink('clear', call, async (entries) => {
        const records = await entries.unit.query(ENTRIES, { namespace: owner }, { limit: CLEARED });
        for (const record of records) entries.remove({ at: record.value, record, live: undefined }, false);
        const live = records.filter((record) => isLive(record, entries.unit.now)).length;
        return () => ({ met: records.length, live });
      });
      deleted += step.live;
      if (step.met < CLEARED) return deleted;
    }
  }

  /**
   * Counts anew what a namespace, or without one the tenant, takes of its quota. A counter begins with a count and changes with
   * each write; it is wrong after writes by a process whose settings had no quotas. Gives what it is now, and what it was
   * (null: there was none, or there is no quota).
   * @throws `CONFLICT` (retryable) when others write too much meanwhile
   */
  async recountUsage(
    namespace?: string,
    options: CallOptions = {},
  ): Promise<Counted & { readonly former: number | null }> {
    const where = namespace === undefined ? {} : { namespace: namespaceReader(namespace, 'namespace') };
    readOptions(options, {});
    this.requireQuotas('recountUsage');
    const limit = namespace === undefined ? this.quotas.tenant : this.quotas.namespace;
    const id = namespace === undefined ? TENANT_COUNTER : namespaceCounter(where.namespace!);
    const { backend, tenant } = this.host;
    return this.decide('recountUsage', options, async (unit) => {
      const known = await unit.find(USAGE, id);
      // After the counter, which every write changes that changes what is counted here.
      const counted = await countUsage(backend, { tenant }, { ...where, ...COUNTED }, unit.context);
      const { bytes } = counted;
      if (limit === 0) return { ...counted, former: null };
      if (known === undefined) unit.insert(USAGE, { bytes }, { id });
      else unit.replace(USAGE, known, { bytes });
      return { ...counted, former: known?.value.bytes ?? null };
    });
  }

  /**
   * As `recountUsage`, of all tenants: the manager's own store only. @throws `UNSUPPORTED` without transactions
   */
  async recountGlobalUsage(options: CallOptions = {}): Promise<Counted> {
    readOptions(options, {});
    this.requireAll('recountGlobalUsage');
    this.requireQuotas('recountGlobalUsage');
    // Of no tenant: it works where every call needs one, too.
    const host = this.host.of(LIBRARY.tenant);
    return host.transaction(callOptions(options), (inside) => this.at(inside).recountGlobal());
  }

  private recountGlobal(): Promise<Counted> {
    const { backend } = this.host;
    return this.run('recountGlobalUsage', {}, async (context) => {
      const unit = bareUnit(backend, GLOBAL.scope.tenant, context);
      const known = await unit.find(USAGE, GLOBAL.id);
      const counted = await countUsage(backend, 'all', COUNTED, context);
      const { bytes } = counted;
      if (known === undefined) unit.insert(USAGE, { bytes }, { id: GLOBAL.id });
      else unit.replace(USAGE, known, { bytes });
      const failure = await unit.commit('kv.recountGlobalUsage');
      if (failure !== undefined) throw failure;
      return counted;
    });
  }

  private readItems(namespace: string, items: unknown): Item[] {
    const { maxBatchItems, maxBatchBytes } = this.limits;
    const most = maxBatchItems - COUNTERS;
    if (!Array.isArray(items)) throw invalid('items', items, 'an array of { key, value, ttlSeconds? }');
    if (items.length > most) throw invalid('items', items, `at most ${most} entries`);
    const read = items.map((item: unknown, i): Item => {
      const { key, value, ttlSeconds } = ITEM(item, `items[${i}]`);
      const at = { namespace, key };
      const stored = readValue(at, value, this.valueLimits, `items[${i}].value`);
      return { at, id: idOf(at), stored, ttl: ttlSeconds };
    });
    if (new Set(read.map(({ id }) => id)).size !== read.length) throw invalid('items', items, 'each key once');
    const bytes = read.reduce((sum, item) => sum + bytesOf(item), COUNTERS * RECORD_OVERHEAD_BYTES);
    if (bytes > maxBatchBytes)
      throw invalid('items', items, `at most ${maxBatchBytes} bytes together, keys and namespaces too, not ${bytes}`);
    return read;
  }

  private requireBatches(operation: string, count: number): void {
    if (count > 1 && !this.capabilities.batches)
      throw new UnsupportedError(`kv.${operation}: ${this.host.backend.name} has no atomic batches`, { operation });
  }
}

interface Item {
  readonly at: Address;
  readonly id: string;
  readonly stored: Sized;
  readonly ttl: number | null | undefined;
}

/** The most that it takes of a batch, whatever is there. */
function bytesOf({ at: { namespace, key }, stored }: Item): number {
  return stored.bytes + jsonBytes([namespace, key]) + RECORD_OVERHEAD_BYTES;
}

function optionalTtl(value: unknown, key: string): number | null | undefined {
  return value === undefined ? undefined : ttlReader(value, key);
}
