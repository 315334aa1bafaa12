/** What the compiler knows of the dotted paths into a record. */

type Primitive = string | number | boolean | bigint | symbol | null | undefined | Date;
type Depth = [never, 0, 1, 2, 3, 4];

/** The part of a type that has members. Arrays end a path: no filter looks inside one by index. */
type Part<V> = Exclude<V, Primitive | readonly unknown[]>;
/** Is assignable to that of the same type alone. */
type Same<T> = (value: T) => T;

/**
 * The dotted paths of a record type, five levels deep. Below a type that occurs again on its own way (a tree) every path
 * counts as one, and is unchecked; a member of type `unknown` is such a place from the first.
 */
export type Path<T> = unknown extends T ? string : Members<Part<T>, 5, Same<Part<T>>>;

type Members<T, D extends number, Seen> = T extends unknown
  ? string extends keyof T
    ? string
    : { [K in keyof T & string]: K | Below<K, T[K], Depth[D], Seen> }[keyof T & string]
  : never;

/** The paths that go on from `K`, whose value is a `V`. */
type Below<K extends string, V, D extends number, Seen> = unknown extends V
  ? `${K}.${string}`
  : [D] extends [never]
    ? never
    : [Part<V>] extends [never]
      ? never
      : Same<Part<V>> extends Seen
        ? `${K}.${string}`
        : Ways<K, Part<V>, D, Seen | Same<Part<V>>>;

type Ways<K extends string, T, D extends number, Seen> = T extends unknown
  ? string extends keyof T
    ? `${K}.${string}` | Below<`${K}.${string}`, T[keyof T & string], Depth[D], Seen>
    : `${K}.${Members<T, D, Seen>}`
  : never;

/** What stands at a path; in a union, what the variants that have it hold there. */
export type PathValue<T, P extends string> = ValueAt<T, P, false>;

type ValueAt<T, P extends string, Within extends boolean> = unknown extends T ? unknown : ValueIn<Part<T>, P, Within>;

type ValueIn<T, P extends string, Within extends boolean> = T extends unknown
  ? string extends P
    ? string extends keyof T
      ? AnyValue<T[keyof T & string], Within>
      : unknown
    : P extends `${infer K}.${infer Rest}`
      ? K extends keyof T
        ? ValueAt<T[K], Rest, Within>
        : never
      : P extends keyof T
        ? T[P]
        : never
  : never;

/** At any name of a record: its value, or one inside of it, for the text after the name may be a path. */
type AnyValue<V, Within extends boolean> = [Part<V>] extends [never]
  ? V
  : Within extends true
    ? unknown
    : V | ValueAt<V, Path<V>, true>;

/** Whether a value of type `T` may have nothing at a path; of a union, `true` is among what its variants say. */
export type MayLack<T, P extends string> = unknown extends T ? true : PartMayLack<Part<T>, P>;

type PartMayLack<T, P extends string> = T extends unknown
  ? string extends P | keyof T
    ? P extends `${string}.${infer Rest}`
      ? MayLack<T[keyof T], Rest>
      : true
    : P extends `${infer K}.${infer Rest}`
      ? K extends keyof T
        ? MayLack<T[K], Rest>
        : never
      : P extends keyof T
        ? undefined extends T[P]
          ? true
          : false
        : true
  : never;
