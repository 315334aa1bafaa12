/** What a caller may say about reads and writes. */
import type { CallOptions } from '../component.js';
import { checkKnown } from '../errors.js';
import type { IdKind } from './definition.js';
import type { MayLack, Path, PathValue } from '../filter/paths.js';
import type { Envelope, Filter } from '../filter/syntax.js';

export interface SaveOptions extends CallOptions {
  readonly id?: string | undefined;
  /** Milliseconds from now; without it the record never expires. */
  readonly ttl?: number | undefined;
}

export interface VersionOptions extends CallOptions {
  /** Only when the record has this version: else `CONFLICT`. `undefined` counts as absent, and asks for nothing. */
  readonly ifVersion?: number | undefined;
}

export interface ReplaceOptions extends VersionOptions {
  /** Milliseconds from now; without it the record never expires. */
  readonly ttl?: number | undefined;
}

interface NewRecord<T> {
  readonly value: T;
  readonly id?: string | undefined;
  /** Milliseconds from now. */
  readonly ttl?: number | undefined;
}

/** What has to be said where ids are `given`. */
interface Named {
  readonly id: string;
}

export type Naming<I extends IdKind> = [I] extends ['given'] ? Named : unknown;

/** The last argument of a save: where ids are `given` it names one. */
export type SaveArguments<I extends IdKind, O extends object = SaveOptions> = [I] extends ['given']
  ? [options: O & Named]
  : [options?: O];

export type SaveManyItem<T, I extends IdKind = IdKind> = NewRecord<T> & Naming<I>;

type Changed<T, P extends string> = NonNullable<PathValue<T, P>>;
type NumberPath<T, P extends string> = P extends unknown
  ? unknown extends PathValue<T, P>
    ? P
    : [Changed<T, P>] extends [never]
      ? never
      : [Changed<T, P>] extends [number]
        ? P
        : never
  : never;
type LackingPath<T, P extends string> = P extends unknown ? (true extends MayLack<T, P> ? P : never) : never;
type Element<V> = unknown extends V ? unknown : V extends readonly (infer E)[] ? E : never;

/** The paths of a record type that `increment` takes. */
export type Incrementable<T> = string extends Path<T> ? string : NumberPath<T, Path<T>> & string;

/** The paths of a record type that `unset` takes: what a record may lack. In a union, what one of its variants may lack. */
export type Removable<T> = string extends Path<T> ? string : LackingPath<T, Path<T>> & string;

/** Changes to parts of a value, in one atomic step. */
export interface Patch<T> {
  readonly set?: { readonly [P in Path<T>]?: PathValue<T, P> } | undefined;
  readonly unset?: readonly Removable<T>[] | undefined;
  /** A missing number counts as 0. */
  readonly increment?: { readonly [P in Incrementable<T>]?: number } | undefined;
  /** Appends one element; a missing array counts as empty. */
  readonly push?: { readonly [P in Path<T>]?: Element<PathValue<T, P>> } | undefined;
}

export interface PatchOptions<T> extends VersionOptions {
  /** Only when the record fits: else `CONFLICT`. `undefined` counts as absent, and asks for nothing. */
  readonly if?: Filter<T> | undefined;
  /**
   * The value to insert, as it is, when the record is not there. Not together with `ifVersion`. Where ids are a `sequence` it
   * costs a second write, of the counter.
   */
  readonly orInsert?: T | undefined;
  /** Milliseconds from now; null: never expires; absent: as before. */
  readonly ttl?: number | null | undefined;
}

export interface IncrementOptions<T> extends VersionOptions {
  /** The value to insert when the record is not there; the increment is made in it. Else as in `PatchOptions`. */
  readonly orInsert?: T | undefined;
  /** Milliseconds from now; null: never expires; absent: as before. */
  readonly ttl?: number | null | undefined;
}

export interface UpdateWhereOptions extends CallOptions {
  /** Milliseconds from now; null: never expires; absent: as before. */
  readonly ttl?: number | null | undefined;
}

export interface ClaimOptions<F extends string> extends UpdateWhereOptions {
  /** Which are taken first. Default: by id. */
  readonly sort?: Sort<F> | undefined;
  /** 1 to 1,000; default 1. */
  readonly limit?: number | undefined;
}

/** An order by declared fields (`F`) and the envelope; the first key counts most. */
export type Sort<F extends string> = { readonly [P in F | keyof Envelope]?: 'asc' | 'desc' };

const CALL = ['signal', 'timeout'];
const KEYS = {
  read: new Set(CALL),
  delete: new Set([...CALL, 'ifVersion']),
  update: new Set([...CALL, 'ifVersion']),
  list: new Set([...CALL, 'sort', 'limit', 'after']),
  each: new Set([...CALL, 'sort']),
  insert: new Set([...CALL, 'id', 'ttl']),
  save: new Set([...CALL, 'id', 'ttl', 'ifVersion']),
  replace: new Set([...CALL, 'ttl', 'ifVersion']),
  patch: new Set([...CALL, 'if', 'ifVersion', 'orInsert', 'ttl']),
  increment: new Set([...CALL, 'ifVersion', 'orInsert', 'ttl']),
  updateWhere: new Set([...CALL, 'ttl']),
  claim: new Set([...CALL, 'sort', 'limit', 'ttl']),
  load: new Set([...CALL, 'onProgress']),
  saveManyItem: new Set(['value', 'id', 'ttl']),
  loadItem: new Set(['value', 'id', 'createdAt', 'expiresAt']),
} as const satisfies Record<string, ReadonlySet<string>>;

/** A misspelt option would be a condition that is not kept. @throws `VALIDATION` */
export function checkOptions(options: unknown, kind: keyof typeof KEYS, at = 'options'): void {
  checkKnown(options, KEYS[kind], at);
}
