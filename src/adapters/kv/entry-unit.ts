/**
 * The entries that a decision reads and writes. Without quotas an entry expires as its record does, and nothing counts it.
 * With quotas what the entries grow by is noted, each write proving that its entry still takes what it took when it was read.
 */
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Filter } from '../../filter/syntax.js';
import type { Unit } from '../unit.js';
import { ENTRIES } from './entries.js';
import {
  countedSize,
  entryOf,
  idOf,
  isLive,
  makeMark,
  makeValue,
  present,
  sizeOf,
  stillCounts,
  stillIs,
  type Address,
  type Entry,
  type EntryRecord,
  type EntryValue,
  type KeyValue,
  type Sized,
} from './entry.js';
import { removeEntry } from './expired.js';

/** An entry's record as it was read, expired or not. */
export interface Met {
  readonly at: Address;
  readonly record: EntryRecord | undefined;
  /** Absent when it has expired. */
  readonly live: EntryRecord | undefined;
}

/** Known once the unit is written. */
export type Outcome<R> = () => R;

const FOR_EVER = { unset: ['expires' as const] };

function until(expires: Date): { readonly set: { readonly expires: Date } } {
  return { set: { expires } };
}

export class EntryUnit {
  /** Bytes by namespace. */
  readonly growth = new Map<string, number>();

  constructor(
    readonly unit: Unit,
    readonly counted: boolean,
  ) {}

  async read(at: Address): Promise<Met> {
    return (await this.readMany([at]))[0]!;
  }

  /** Each address once. */
  async readMany(addresses: readonly Address[]): Promise<Met[]> {
    const records = await this.unit.findMany(ENTRIES, addresses.map(idOf));
    return addresses.map((at, i) => {
      const record = records[i];
      return { at, record, live: isLive(record, this.unit.now) ? record : undefined };
    });
  }

  /** Whatever was there. Only where nothing is counted. */
  put(at: Address, value: Sized, expiresAt: Date | undefined): Outcome<Entry> {
    const put = this.unit.put(ENTRIES, idOf(at), makeValue(at, value), expiresAt);
    return () => this.entry(put.record());
  }

  /** @param exact only over the version that was read: the value was made of it */
  write({ at, record, live }: Met, value: Sized, expiresAt: Date | undefined, exact: boolean): Outcome<Entry> {
    const { unit, counted } = this;
    const made = makeValue(at, value);
    const next: EntryValue = {
      ...made,
      ...(counted && expiresAt !== undefined ? { expires: expiresAt } : {}),
      ...(record !== undefined && live === undefined ? { since: unit.now } : {}),
      ...(live?.value.since === undefined ? {} : { since: live.value.since }),
    };
    this.grow(at, sizeOf(made) - (record === undefined ? 0 : countedSize(record)));
    const expiry = counted || expiresAt === undefined ? {} : { expiresAt };
    if (record !== undefined) return this.exchange(record, next, expiry.expiresAt ?? null, exact);
    const inserted = unit.insert(ENTRIES, next, { id: idOf(at), ...expiry });
    return () => this.entry(inserted);
  }

  /**
   * Adds to a whole number, whatever it is, where `condition` says that it may.
   * @param expiresAt null: never; absent: as before @param begin what it is when there is none
   */
  add(
    at: Address,
    delta: number,
    condition: Filter<EntryValue>,
    expiresAt: Date | null | undefined,
    begin?: number,
  ): Outcome<Entry> {
    const { namespace, key } = at;
    const increment = { integer: delta };
    const lifetime = !this.counted || expiresAt === undefined ? {} : expiresAt === null ? FOR_EVER : until(expiresAt);
    const patched = this.unit.patch(
      ENTRIES,
      idOf(at),
      { increment, ...lifetime },
      {
        if: condition,
        orInsert: begin === undefined ? undefined : { namespace, key, integer: begin, mark: makeMark() },
        expiresAt: this.counted ? undefined : expiresAt,
      },
    );
    return () => this.entry(patched.record());
  }

  /** @param exact only the version that was read */
  remove({ at, record }: Met, exact: boolean): void {
    if (record === undefined) return;
    this.grow(at, -countedSize(record));
    if (this.counted || exact)
      removeEntry(ENTRIES, this.unit, record, this.unchanged(record, exact), exact ? record.version : undefined);
    else this.unit.remove(ENTRIES, record);
  }

  present<Value>({ at, record }: Met): KeyValue<Value> {
    return present(at, record, this.unit.now) as KeyValue<Value>;
  }

  entry(record: StoredRecord<EntryValue>): Entry {
    return entryOf(record, this.unit.now);
  }

  /** A patch, because a replacement takes no condition but a version, and versions begin anew after a deletion. */
  private exchange(record: EntryRecord, next: EntryValue, expiresAt: Date | null, exact: boolean): Outcome<Entry> {
    const { namespace: _namespace, key: _key, ...set } = next;
    const unset = (['integer', 'value', 'sizeBytes', 'expires', 'since'] as const).filter((name) => !(name in set));
    const patched = this.unit.patch(
      ENTRIES,
      record.id,
      { set, unset },
      { if: this.unchanged(record, exact), expiresAt, ...(exact ? { ifVersion: record.version } : {}) },
    );
    return () => this.entry(patched.record());
  }

  private unchanged(record: EntryRecord, exact: boolean): Filter<EntryValue> {
    return { ...(this.counted ? stillCounts(record) : {}), ...(exact ? stillIs(record) : {}) };
  }

  grow({ namespace }: Address, bytes: number): void {
    this.growth.set(namespace, (this.growth.get(namespace) ?? 0) + bytes);
  }
}
