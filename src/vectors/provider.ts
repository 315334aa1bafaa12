/**
 * The vector contract. A vector collection has a dimension and a metric; a record is an id, a vector, flat metadata and
 * an optional text, under a tenant and a namespace. Providers never see user input: metadata come flat and validated,
 * filters are folded trees with the negations on the leaves. Scores: higher is closer (`docs/vectors.md`).
 */
import type { Clock } from '../clock.js';
import type { Component, OperationContext, SettingsFragment, TestTarget } from '../component.js';
import type { PushedNode } from '../filter/normalize.js';
import type { FilterNode } from '../filter/syntax.js';
import type { Pool } from '../pools/pool.js';

export type Metric = 'cosine' | 'euclidean' | 'dot';
export type VectorFieldType = 'string' | 'number' | 'boolean' | 'date' | 'string[]';

export type VectorIndex =
  | {
      readonly kind: 'hnsw';
      readonly m?: number;
      readonly efConstruction?: number;
      readonly quantize?: 'auto' | 'half' | 'bit';
    }
  | { readonly kind: 'ivfflat'; readonly lists?: number; readonly probes?: number }
  | { readonly kind: 'none' };

export interface VectorCollectionSpec {
  /** `[a-z][a-z0-9-]{0,44}`: fits every provider. */
  readonly name: string;
  /** Of the vectors, 1 to 20,000; 0 with `sparse`: sparse vectors alone. */
  readonly dimension: number;
  /** Default: `cosine`, and with `sparse` `dot`, the only one that sparse vectors have. */
  readonly metric?: Metric | undefined;
  /** Records may have a sparse vector; the score is the sum of both inner products. Default: false. */
  readonly sparse?: boolean | undefined;
  /** Checked on write and indexed; metadata keys that are not declared stay allowed. */
  readonly fields?: Readonly<Record<string, VectorFieldType>> | undefined;
  /** Default: `{ kind: 'hnsw' }` where the provider has indexes of its own. */
  readonly index?: VectorIndex | undefined;
  /**
   * The records' texts can be searched. `language` (default: `simple`, the words as they are, lower-cased) is a text search
   * configuration of the server: `english` finds `run` by `running`. Default: texts are kept and not searched.
   */
  readonly text?: { readonly language?: string | undefined } | undefined;
}

/** A collection as a provider gets and keeps it: every default filled in. */
export interface VectorSchema {
  readonly name: string;
  /** 0: sparse vectors alone. Records and queries have an empty vector then. */
  readonly dimension: number;
  readonly metric: Metric;
  /** Absent: no record has a sparse vector. */
  readonly sparse?: true;
  readonly fields: Readonly<Record<string, VectorFieldType>>;
  readonly index: VectorIndex;
  /** Absent: texts are kept and not searched. */
  readonly text?: { readonly language: string };
}

export type MetadataLeaf = string | number | boolean | readonly string[];
/** Flat: `{ loc: { from: 1 } }` is the leaf `loc.from`. */
export type FlatMetadata = Readonly<Record<string, MetadataLeaf>>;

export interface VectorScope {
  readonly tenant: string;
  readonly namespace: string;
}

/** `values[i]` is the component of the dimension `indices[i]`; the others are zero. At least one, by ascending indices. */
export interface StoredSparse {
  readonly indices: Uint32Array;
  readonly values: Float32Array;
}

export interface StoredVector {
  readonly id: string;
  readonly vector: Float32Array;
  readonly sparse?: StoredSparse;
  readonly metadata: FlatMetadata;
  readonly text?: string;
}

/** What a read gives besides the id. */
export interface VectorInclude {
  /** With the sparse one. */
  readonly vector: boolean;
  readonly metadata: boolean;
  readonly text: boolean;
}

export interface FetchedVector {
  readonly id: string;
  readonly vector?: Float32Array;
  readonly sparse?: StoredSparse;
  readonly metadata?: FlatMetadata;
  readonly text?: string;
}

export interface ScoredVector extends FetchedVector {
  readonly score: number;
}

/** A filter as a provider gets it: folded, never the constant `ALL` or `NOTHING`; absent means all. */
export interface CompiledFilter {
  readonly tree: FilterNode;
  /** The same with its negations on the leaves. */
  readonly pushed: PushedNode;
}

export interface VectorSearch {
  readonly vector: Float32Array;
  /** Its inner product is added to the vector's. Of sparse vectors alone, those whose score is 0 are no hits. */
  readonly sparse?: StoredSparse;
  readonly topK: number;
  readonly filter?: CompiledFilter;
  readonly exact: boolean;
  readonly include: VectorInclude;
  readonly consistency: 'eventual' | 'session';
}

/** How a search was answered. */
export interface SearchExplanation {
  /** By the index of the vectors, or by comparing all that match. */
  readonly scan: 'index' | 'exact';
  /** Whether the index gave too few, so that all that match were compared after it. */
  readonly completed: boolean;
  /** As the provider has it, for reading. */
  readonly plan: string;
}

export interface TextSearch extends Pick<VectorSearch, 'topK' | 'filter' | 'include' | 'consistency'> {
  /** At least one; a record matches that has all of them. */
  readonly words: readonly string[];
}

export interface VectorList {
  readonly filter?: CompiledFilter;
  readonly limit: number;
  /** Opaque, made by this provider: the `next` of the page before. */
  readonly after?: string;
  readonly include: VectorInclude;
}

export type VectorSelection =
  { readonly ids: readonly string[] } | { readonly filter: CompiledFilter } | { readonly all: true };

/** An object, not a list: what is refused depends on the operand's type and on negation. */
export interface VectorCapabilities {
  readonly metrics: readonly Metric[];
  /** Whether `exact: true` can be asked for. */
  readonly exact: boolean;
  readonly operators: {
    /** `$gt` and its like over strings. */
    readonly stringRange: boolean;
    /** The complement of a range over numbers. */
    readonly notRange: 'always' | 'declared' | 'never';
  };
  /** Significant digits a number in metadata keeps. */
  readonly metadataDigits: 15 | 17;
  /** Whether a delete by filter tells how many it deleted. */
  readonly deleteCount: boolean;
  readonly listOrder: 'id' | 'insertion' | 'none';
  /** Texts can be searched, alone and together with vectors: then there is `searchText`. */
  readonly text: boolean;
  /** Sparse vectors, beside dense ones and alone. */
  readonly sparse: boolean;
  readonly consistency: 'immediate' | 'session' | 'eventual';
  /** Whether it can take part in a transaction of the pool it rides on. */
  readonly transactions: boolean;
  /** Whether the data outlive the process. */
  readonly durable: boolean;
  readonly maxDimension: number;
  readonly maxTopK: number;
  readonly maxBatch: number;
  readonly maxMetadataBytes: number;
}

/**
 * Operations on a collection are given what it was declared as when it was described. Where that is not what it is declared
 * as, because another process has made it anew, they throw `NOT_FOUND`: it is then described again.
 */
export interface VectorProvider extends Component {
  readonly capabilities: VectorCapabilities;
  /** Whose sessions it takes; absent for a service of its own. */
  readonly pool?: Pool;
  /** Idempotent for an equal schema. @throws `CONFLICT` when the name has another one. */
  createCollection(schema: VectorSchema, context: OperationContext): Promise<void>;
  describeCollection(name: string, context: OperationContext): Promise<VectorSchema | undefined>;
  listCollections(context: OperationContext): Promise<string[]>;
  /** Whether there was one. */
  deleteCollection(name: string, context: OperationContext): Promise<boolean>;
  /**
   * What keeps a vector, of the schema's dimension, out of this provider beyond its capabilities: `has a component beyond
   * 65504`; `undefined` when nothing does. Asked of records and of queries, before any I/O.
   */
  vectorFault?(schema: VectorSchema, vector: Float32Array): string | undefined;
  /**
   * What keeps a whole record out of this provider beyond its capabilities: `has an id of 900 bytes`; `undefined` when
   * nothing does. Asked of each record before any is written.
   */
  recordFault?(schema: VectorSchema, record: StoredVector): string | undefined;
  /** Replaces whole records. At most `maxBatch`, ids distinct, vectors of the schema's dimension. */
  upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<{ readonly token?: string }>;
  /** In the order of the ids; `undefined` for what is not there. `consistency`: as in a search; default: `eventual`. */
  fetch(
    schema: VectorSchema,
    scope: VectorScope,
    ids: readonly string[],
    include: VectorInclude,
    context: OperationContext,
    consistency?: VectorSearch['consistency'],
  ): Promise<(FetchedVector | undefined)[]>;
  list(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorList,
    context: OperationContext,
  ): Promise<{ readonly items: FetchedVector[]; readonly next?: string }>;
  count(
    schema: VectorSchema,
    scope: VectorScope,
    filter: CompiledFilter | undefined,
    context: OperationContext,
  ): Promise<number>;
  /** `deleted` is absent where the provider does not say. */
  delete(
    schema: VectorSchema,
    scope: VectorScope,
    selection: VectorSelection,
    context: OperationContext,
  ): Promise<{ readonly deleted?: number }>;
  /** Order and ties are the caller's; the score is that of `docs/vectors.md`. */
  search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]>;
  /** Waits until reads see all that was written here; absent where they always do. @throws `TIMEOUT` */
  settle?(context: OperationContext): Promise<void>;
  /** Runs a search and tells how; absent where the provider does not know. */
  explain?(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<SearchExplanation>;
  /**
   * Faster than `upsert`: adds records whose ids are new, all of them or none.
   * @throws `ALREADY_EXISTS`; a session where it does so goes on.
   */
  bulkLoad?(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
    context: OperationContext,
  ): Promise<void>;
  /** Builds the collection's index unless it is there, without holding up those who write. Not in a session. */
  buildIndex?(schema: VectorSchema, context: OperationContext): Promise<void>;
  /** Searches compare with every record until it is built again. Not in a session. */
  dropIndex?(schema: VectorSchema, context: OperationContext): Promise<void>;
  /** Higher is better; how the score is made is the provider's. Only for schemas with a `text`. */
  searchText?(
    schema: VectorSchema,
    scope: VectorScope,
    request: TextSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]>;
}

export interface ProviderEnvironment {
  readonly clock: Clock;
  /** The component's name: `vectors:pgvector`. */
  readonly name: string;
  /** The pool of the database that the provider's settings name; absent for a service of its own. */
  readonly pool?: Pool;
}

/** What registering a provider says about it, besides its class. */
export interface ProviderOptions {
  /** The provider's settings, under `vectors.<name>`. */
  readonly settings?: SettingsFragment;
  /** `true`: it rides on a database's pool, which its setting `database` names. */
  readonly pooled?: boolean;
  readonly tests?: readonly TestTarget[];
}

export type ProviderClass = new (
  settings: Readonly<Record<string, unknown>>,
  environment: ProviderEnvironment,
) => VectorProvider;

export interface ProviderDriver extends ProviderOptions {
  readonly name: string;
  create(settings: Readonly<Record<string, unknown>>, environment: ProviderEnvironment): VectorProvider;
}
