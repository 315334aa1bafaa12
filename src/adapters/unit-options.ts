/** What a read of a unit may say beside its filter, a write beside its value, and what a write gives. */
import type { Sort } from '../collection/options.js';
import type { StoredRecord } from '../collection/record-codec.js';
import type { Path } from '../filter/paths.js';
import type { Filter } from '../filter/syntax.js';

export interface UnitQuery<T> {
  readonly sort?: Sort<Path<T>> | undefined;
  /** 1 to 1,000; default 1,000. */
  readonly limit?: number | undefined;
  /** Only what comes after this record in the order; it need not be there any more. */
  readonly after?: StoredRecord<T> | undefined;
}

/** How large a record may be. One that replaces another is never too large with no more bytes than that has. */
export interface Size {
  /**
   * Bytes of the largest record that stay free, for what is written to it later; less than 0: bytes beyond it, for what the
   * library adds to a record that may be as large as any. Default: 0.
   */
  readonly room?: number | undefined;
  /** What an error calls the value. Default: `value`. */
  readonly as?: string | undefined;
}

export interface Insertion extends Size {
  /** Default: a UUID of version 7. */
  readonly id?: string | undefined;
  /** Default: now. */
  readonly createdAt?: Date | undefined;
  readonly expiresAt?: Date | undefined;
}

export interface Replacement extends Size {
  /** Default: as it is; null: never. */
  readonly expiresAt?: Date | null | undefined;
}

export interface PatchConditions<T> {
  readonly if?: Filter<T> | undefined;
  readonly ifVersion?: number | undefined;
  readonly orInsert?: T | undefined;
  readonly expiresAt?: Date | null | undefined;
}

/** A record that only its write tells, once the unit is written. */
export interface Patched<T> {
  record(): StoredRecord<T>;
}
