/** What a host says to a vector store, and what it gets. */
import type { CallOptions } from '../../component.js';
import type { StorageError } from '../../errors.js';
import type { Filter } from '../../filter/syntax.js';
import type { SearchExplanation, StoredSparse, VectorInclude } from '../provider.js';

export type MetadataValue =
  string | number | boolean | Date | readonly string[] | { readonly [key: string]: MetadataValue };
/** Plain objects of strings, numbers, booleans and lists of strings; Dates where the collection declares them. */
export interface Metadata {
  readonly [key: string]: MetadataValue;
}

/** A vector of 2^32 dimensions, most of them zero: `values[i]` is the component of the dimension `indices[i]`. */
export interface SparseVector {
  /** 1 to 1,000 whole numbers from 0 to 4,294,967,295, each once, in any order; read back in ascending order. */
  readonly indices: readonly number[] | Uint32Array;
  /** As many finite numbers, kept as float32. */
  readonly values: readonly number[] | Float32Array;
}

/** The vector of a record, and where the collection has `sparse` a sparse one too, or that one alone. */
export type RecordVector =
  | {
      /** As many finite numbers as the collection's dimension; kept as float32, not normalised. */
      readonly vector: readonly number[] | Float32Array;
      readonly sparse?: SparseVector | undefined;
    }
  | { readonly vector?: undefined; readonly sparse: SparseVector };

export type VectorRecord<M = Metadata> = RecordVector & {
  /** 1 to 512 bytes of UTF-8. */
  readonly id: string;
  readonly metadata?: M | undefined;
  /** Kept beside the metadata; searched where the collection says so. */
  readonly text?: string | undefined;
};

/** A record as it is read: only what was asked for by `include`. */
export interface FetchedRecord<M = Metadata> {
  readonly id: string;
  /** Absent also where the collection has sparse vectors alone. */
  readonly vector?: Float32Array;
  readonly sparse?: StoredSparse;
  readonly metadata?: M;
  readonly text?: string;
}

export interface VectorHit<M = Metadata> extends FetchedRecord<M> {
  /**
   * Higher is closer: the cosine, minus the distance, or the inner product; for a text the provider's own rank, and for
   * both the sum of 1 / (60 + rank) over the two lists. Of these three no two can be compared.
   */
  readonly score: number;
}

export interface NamespaceOptions extends CallOptions {
  /** A part of the collection of one's own; the same id in two namespaces is two records. Default: the unnamed one. */
  readonly namespace?: string | undefined;
}

export interface ReadOptions extends NamespaceOptions {
  /** Default: metadata and text, not the vectors. */
  readonly include?: Partial<VectorInclude> | undefined;
}

export interface VectorListOptions<M = Metadata> extends ReadOptions {
  /** One that is `undefined` is refused: it was meant to restrict something. */
  readonly filter?: Filter<M>;
  /** 1 to 1,000; default 50. */
  readonly limit?: number | undefined;
  /** The `next` of the page before, of the same collection, namespace and filter. */
  readonly after?: string | undefined;
}

export interface VectorPage<M = Metadata> {
  readonly items: FetchedRecord<M>[];
  /** Absent on the last page. */
  readonly next?: string;
}

export interface VectorQuery<M = Metadata> extends ReadOptions {
  /** What to look for; or `id`, or `text`. */
  readonly vector?: readonly number[] | Float32Array | undefined;
  /**
   * Beside `vector`, in a collection with `sparse`; alone where it has sparse vectors alone, of which those whose score is 0
   * are no hits. The score is the sum of both inner products: multiply either vector to weigh it.
   */
  readonly sparse?: SparseVector | undefined;
  /** Looks for what is near to this record, which is then itself among the hits. */
  readonly id?: string | undefined;
  /** Words, all of which the record's text has; alone, or together with `vector` or `id`. */
  readonly text?: string | undefined;
  /** 1 to 10,000, among sparse vectors alone 1 to 1,000; default 10. */
  readonly topK?: number | undefined;
  /** One that is `undefined` is refused: it was meant to restrict something. */
  readonly filter?: Filter<M>;
  /** Inclusive. Hits below it are left out after the query. Not together with `text`. */
  readonly minScore?: number | undefined;
  /** Compares with every record instead of asking an index. Default: false. */
  readonly exact?: boolean | undefined;
  /** Also tells how it was done: `{ hits, scan, completed, plan }`. It is done twice then. Not together with `text`. */
  readonly explain?: boolean | undefined;
  /** `session`: sees what this process has written. Default: `eventual`, which on most providers is immediate. */
  readonly consistency?: 'eventual' | 'session' | undefined;
}

export interface UpsertProgress {
  readonly written: number;
  readonly failed: number;
}

export interface UpsertOptions extends NamespaceOptions {
  /** Called after each batch. `timeout` bounds each wait for the source and each batch, not the whole. */
  readonly onProgress?: ((progress: UpsertProgress) => void) | undefined;
}

export interface VectorLoadOptions extends UpsertOptions {
  /**
   * Drops the index before and builds it after, which is several times as fast for many records; meanwhile searches compare
   * with every record. `signal` ends the writing and not the building. Default: false.
   */
  readonly deferIndex?: boolean | undefined;
  /** Milliseconds for building it. Default: an hour. */
  readonly indexTimeout?: number | undefined;
}

export interface UpsertReport extends UpsertProgress {
  /** Records taken; of several with one id the last is kept. */
  readonly written: number;
  /** How many records of an iterable cannot be stored; an array with such a record is refused as a whole. */
  readonly failed: number;
  /** The first 100 of them; `index` counts the source's records from 0. */
  readonly failures: readonly { readonly index: number; readonly id?: string; readonly error: StorageError }[];
  /** The provider's mark of the last write, where it has one. */
  readonly token?: string;
}

/** The hits, and how they were found. */
export interface ExplainedHits<M = Metadata> extends SearchExplanation {
  readonly hits: VectorHit<M>[];
}

/** What to delete. `{ all: true }` is everything in the namespace. */
export type VectorDeletion<M = Metadata> =
  readonly string[] | { readonly ids: readonly string[] } | { readonly filter: Filter<M> } | { readonly all: true };
