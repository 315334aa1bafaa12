/** What a caller may say about writes. */
import type { CallOptions } from '../component.js';
import type { Filter, Path } from '../filter/syntax.js';

export interface SaveOptions extends CallOptions {
  readonly id?: string;
  /** Milliseconds from now; without it the record never expires. */
  readonly ttl?: number;
}

export interface SaveManyItem<T> {
  readonly value: T;
  readonly id?: string;
  /** Milliseconds from now. */
  readonly ttl?: number;
}

/** Changes to parts of a value, in one atomic step. */
export interface Patch<T> {
  readonly set?: { readonly [P in Path<T>]?: unknown };
  readonly unset?: readonly Path<T>[];
  readonly increment?: { readonly [P in Path<T>]?: number };
  readonly push?: { readonly [P in Path<T>]?: unknown };
}

export interface PatchOptions<T> extends CallOptions {
  readonly if?: Filter<T>;
  readonly ifVersion?: number;
  /** The value to insert when the record is not there. Not together with `ifVersion`. */
  readonly orInsert?: T;
  /** Milliseconds from now; null: never expires; absent: as before. */
  readonly ttl?: number | null;
}
