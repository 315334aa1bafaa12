/** Writing one entry, its expiry, and the decisions that all writes are. */
import type { JsonValue } from '../../backends/backend.js';
import type { CallOptions } from '../../component.js';
import { invalid, isStorageError, UnsupportedError } from '../../errors.js';
import { callOptions, checkIfVersion, type ChangeOptions } from '../store.js';
import type { Unit } from '../unit.js';
import { Accounting } from './accounting.js';
import {
  expiry,
  MAX_TTL_SECONDS,
  readAddress,
  readOptions,
  readValue,
  ttlReader,
  VERSION,
  type ValueLimits,
} from './arguments.js';
import { ENTRIES } from './entries.js';
import { idOf, isLive, sizeOf, valueOf, type Address, type Entry, type KeyValue } from './entry.js';
import { EntryUnit, type Outcome } from './entry-unit.js';
import { KeyValueReader } from './reader.js';

export interface SetOptions extends CallOptions {
  /** Seconds from now, above 0; milliseconds are kept. null: it never expires. Default: `kv.defaultTtlSeconds`. */
  readonly ttlSeconds?: number | null | undefined;
}

export interface Deletion extends Address {
  readonly deleted: boolean;
}

export const TTL = { ttlSeconds: ttlReader };
export abstract class KeyValueWriter extends KeyValueReader {
  /**
   * Replaces the value and the expiry of an entry, or makes it. Gives what is stored.
   * @throws `VALIDATION` for what is no JSON or has more than `kv.maxValueBytes`; `QUOTA_EXCEEDED`
   */
  async set(namespace: string, key: string, value: unknown, options: SetOptions = {}): Promise<Entry> {
    const at = readAddress(namespace, key);
    const stored = readValue(at, value, this.valueLimits);
    const { ttlSeconds } = readOptions(options, TTL);
    return this.change('set', options, async (entries) => {
      const expiresAt = this.expiry(ttlSeconds, entries.unit);
      if (!entries.counted) return entries.put(at, stored, expiresAt);
      return entries.write(await entries.read(at), stored, expiresAt, false);
    });
  }

  /** @throws `CONFLICT` when it has another version than `ifVersion` */
  async delete(namespace: string, key: string, options: ChangeOptions = {}): Promise<Deletion> {
    const at = readAddress(namespace, key);
    const { ifVersion } = readOptions(options, { ifVersion: VERSION });
    // A delivery leaves a mark beside what it writes.
    const alone = !this.counted && ifVersion === undefined && this.host.delivery === undefined;
    if (alone) return { ...at, deleted: await this.deleteOne(at, options) };
    return this.shrink<Deletion>('delete', options, async (entries) => {
      const met = await entries.read(at);
      if (met.live === undefined) return () => ({ ...at, deleted: false });
      checkIfVersion(met.live, 'entry', ifVersion);
      entries.remove(met, ifVersion !== undefined);
      return () => ({ ...at, deleted: true });
    });
  }

  /** Gives an entry a new time to live. */
  async touch<Value = JsonValue>(
    namespace: string,
    key: string,
    ttlSeconds: number,
    options: CallOptions = {},
  ): Promise<KeyValue<Value>> {
    const at = readAddress(namespace, key);
    if (ttlSeconds === null)
      throw invalid('ttlSeconds', ttlSeconds, 'a number of seconds (persist takes the expiry away)');
    const ttl = ttlReader(ttlSeconds, 'ttlSeconds');
    readOptions(options, {});
    return this.retime<Value>('touch', at, ttl, options);
  }

  /** Takes an entry's expiry away. */
  async persist<Value = JsonValue>(
    namespace: string,
    key: string,
    options: CallOptions = {},
  ): Promise<KeyValue<Value>> {
    const at = readAddress(namespace, key);
    readOptions(options, {});
    return this.retime<Value>('persist', at, null, options);
  }

  /** Whether there are quotas that the database can keep. */
  protected get counted(): boolean {
    const { namespace, tenant, global } = this.quotas;
    return (namespace > 0 || tenant > 0 || global > 0) && this.capabilities.quotas;
  }

  protected get valueLimits(): ValueLimits {
    const { maxValueBytes } = this.host.settings.kv;
    return { maxValueBytes, maxRecordBytes: this.limits.maxRecordBytes };
  }

  /** A decision about entries. What it gives is told once it is written. */
  protected async change<R>(
    operation: string,
    options: CallOptions,
    plan: (entries: EntryUnit) => Promise<Outcome<R>>,
  ): Promise<R> {
    this.requireQuotas(operation);
    return this.shrink(operation, options, plan);
  }

  /** As `change`, of what takes no room: it is never refused. */
  protected async shrink<R>(
    operation: string,
    options: CallOptions,
    plan: (entries: EntryUnit) => Promise<Outcome<R>>,
  ): Promise<R> {
    const { host, counted, quotas } = this;
    const call = callOptions(options);
    if (counted && quotas.global > 0 && host.outbox === undefined)
      return host.transaction(call, (inside) => this.at(inside).shrink(operation, options, plan));
    const accounting = new Accounting(host.backend, host.tenant, quotas, this.operationName(operation));
    let last: Unit | undefined;
    try {
      const outcome = await this.decide(operation, call, async (unit) => {
        last = unit;
        const entries = new EntryUnit(unit, counted);
        const result = await plan(entries);
        if (counted) await accounting.settle(unit, entries.growth);
        return result;
      });
      return outcome();
    } catch (error) {
      // For a caller who goes on with the transaction. One that has failed takes it back by itself.
      if (last !== undefined) await accounting.undo(last).catch(() => undefined);
      throw error;
    }
  }

  protected expiry(ttlSeconds: number | null | undefined, { now }: Unit): Date | undefined {
    if (ttlSeconds !== undefined) return expiry(ttlSeconds, now);
    const usual = this.host.settings.kv.defaultTtlSeconds;
    return expiry(usual > 0 ? Math.min(usual, MAX_TTL_SECONDS) : null, now);
  }

  private retime<Value>(
    operation: string,
    at: Address,
    ttl: number | null,
    options: CallOptions,
  ): Promise<KeyValue<Value>> {
    return this.change<KeyValue<Value>>(operation, options, async (entries) => {
      const met = await entries.read(at);
      if (met.live === undefined) return () => ({ ...at, found: false });
      const { value } = met.live;
      const same = { value: valueOf(value), bytes: sizeOf(value) };
      const written = entries.write(met, same, expiry(ttl, entries.unit.now), true);
      return () => written() as Entry<Value>;
    });
  }

  private async deleteOne(at: Address, options: CallOptions): Promise<boolean> {
    const call = callOptions(options);
    try {
      const record = await this.run('delete', call, () => this.records(ENTRIES).delete(idOf(at), call));
      return isLive(record, this.host.clock.now());
    } catch (error) {
      if (isStorageError(error, 'NOT_FOUND')) return false;
      throw error;
    }
  }

  protected requireQuotas(operation: string): void {
    const { namespace, tenant, global } = this.quotas;
    const { quotas, globalQuota } = this.capabilities;
    const asked = namespace > 0 || tenant > 0 || global > 0;
    if (!asked || (quotas && (global === 0 || globalQuota))) return;
    throw new UnsupportedError(
      `kv.${operation}: ${this.host.backend.name} cannot keep quotas: set kv.namespaceQuotaBytes, kv.tenantQuotaBytes and kv.globalQuotaBytes to 0`,
      { operation: this.operationName(operation) },
    );
  }
}
