/** An entry: how it is kept, what it counts for, and what a caller gets of it. */
import { hash } from 'node:crypto';
import type { JsonValue } from '../../backends/backend.js';
import { jsonBytes } from '../../backends/value.js';
import { takeRandom } from '../../collection/random.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Filter } from '../../filter/syntax.js';

export interface Address {
  readonly namespace: string;
  readonly key: string;
}

export interface EntryValue extends Address {
  /** A whole number, which can be counted up in one step. Its bytes are its digits. */
  readonly integer?: number;
  /** Any other value, */
  readonly value?: JsonValue;
  /** and its bytes as compact JSON. */
  readonly sizeBytes?: number;
  /**
   * When it expires, of an entry that counts in a quota: its record stays until what it took is given back in one step with
   * its deletion. Entries that count nowhere have the record's own expiry, and are swept with no ado.
   */
  readonly expires?: Date;
  /** When it was set, over another that had expired by then. */
  readonly since?: Date;
  /**
   * Another with each value that is set, and kept while it is counted up: with the version, which begins anew after a deletion,
   * it tells what was read from everything else that was or will be under the key. Entries written before there were marks have none.
   */
  readonly mark?: string;
}

export type EntryRecord = StoredRecord<EntryValue>;

/** An entry that is there. `Value` is what the caller takes its JSON for: nothing checks it. */
export interface Entry<Value = JsonValue> extends Address {
  readonly found: true;
  readonly value: Value;
  /** Seconds that are left to it, to the millisecond; absent: it never expires. */
  readonly ttlSeconds?: number;
  /** Absent: never. */
  readonly expiresAt?: Date;
  /** Of the value, as compact JSON in UTF-8. */
  readonly sizeBytes: number;
  /** Grows by 1 with each write. It may begin anew when the entry was deleted or has expired. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What is under a key: a stored null is found too. */
export type KeyValue<Value = JsonValue> = Entry<Value> | (Address & { readonly found: false });

/** Both together are too long for an id. The length tells where the namespace ends. */
export function idOf({ namespace, key }: Address): string {
  return hash('sha256', `${namespace.length}:${namespace}${key}`);
}

/** A value, and its bytes as compact JSON. */
export interface Sized {
  readonly value: JsonValue;
  readonly bytes: number;
}

export function makeValue({ namespace, key }: Address, { value, bytes }: Sized): EntryValue {
  const mark = makeMark();
  if (Number.isSafeInteger(value)) return { namespace, key, integer: value as number, mark };
  return { namespace, key, value, sizeBytes: bytes, mark };
}

export function makeMark(): string {
  return takeRandom(9).toString('base64url');
}

export function sized(value: JsonValue): Sized {
  return { value, bytes: jsonBytes(value) };
}

export function valueOf({ integer, value = null }: EntryValue): JsonValue {
  return integer ?? value;
}

export function sizeOf({ integer, sizeBytes = 0 }: EntryValue): number {
  return integer === undefined ? sizeBytes : String(integer).length;
}

/** What it counts for in the quotas: nothing, when it was written while there were none and expires by itself. */
export function countedSize({ expiresAt, value }: EntryRecord): number {
  return expiresAt === undefined ? sizeOf(value) : 0;
}

/** That a record still counts for what it did when it was read, whatever version it has. */
export function stillCounts({ expiresAt, value }: EntryRecord): Filter<EntryValue> {
  if (expiresAt !== undefined) return { expiresAt: { $exists: true } };
  const { integer, sizeBytes = 0 } = value;
  const size = integer === undefined ? { sizeBytes, integer: { $exists: false } } : { integer };
  return { ...size, expiresAt: { $exists: false } };
}

/** That a record is the very one that was read; together with its version, that nothing was written to it since. */
export function stillIs({ value: { mark } }: EntryRecord): Filter<EntryValue> {
  return { mark: mark ?? { $exists: false } };
}

export function expiryOf({ expiresAt, value }: EntryRecord): Date | undefined {
  return expiresAt ?? value.expires;
}

export function isLive(record: EntryRecord | undefined, now: Date): record is EntryRecord {
  return record !== undefined && (record.value.expires === undefined || record.value.expires > now);
}

/** As `isLive`, asked of the database. */
export function liveAt(now: Date): Filter<EntryValue> {
  return { $or: [{ expires: { $exists: false } }, { expires: { $gt: now } }] };
}

export function present(at: Address, record: EntryRecord | undefined, now: Date): KeyValue {
  return isLive(record, now) ? entryOf(record, now) : { ...at, found: false };
}

export function entryOf(record: EntryRecord, now: Date): Entry {
  const { value, version, updatedAt } = record;
  const { namespace, key, since } = value;
  const expiresAt = expiryOf(record);
  const entry = {
    namespace,
    key,
    found: true as const,
    value: valueOf(value),
    sizeBytes: sizeOf(value),
    version,
    createdAt: since ?? record.createdAt,
    updatedAt,
  };
  if (expiresAt === undefined) return entry;
  return { ...entry, expiresAt, ttlSeconds: Math.max(0, expiresAt.getTime() - now.getTime()) / 1_000 };
}
