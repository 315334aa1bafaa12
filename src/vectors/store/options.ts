/** What a caller may say of reads, queries and deletes of vectors, and the checks of it. */
import type { CallOptions } from '../../component.js';
import { invalid, UnsupportedError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import type { Filter } from '../../filter/syntax.js';
import { checkVectorId, type Metadata } from '../codec.js';
import type { VectorCapabilities, VectorInclude } from '../provider.js';

export interface VectorCallOptions extends CallOptions {
  /** Default: `''`. */
  readonly namespace?: string;
}

export interface VectorReadOptions extends VectorCallOptions {
  /** Default: metadata and text, no vector. */
  readonly include?: Partial<VectorInclude>;
}

export interface VectorQuery<M = Metadata> {
  /** What to be near to; or `id`, for the vector of a stored record. */
  readonly vector?: readonly number[] | Float32Array;
  readonly id?: string;
  /** 1 to 10,000; default 10. */
  readonly topK?: number;
  readonly filter?: Filter<M>;
  /** Inclusive, on the score; fewer than `topK` hits are normal then. */
  readonly minScore?: number;
  /** Compares with every matching vector, past any index. Default: false. */
  readonly exact?: boolean;
  /** `session`: sees what this process wrote before. Default: `eventual`. */
  readonly consistency?: 'eventual' | 'session';
}

export interface VectorEntry<M = Metadata> {
  readonly id: string;
  readonly metadata?: M;
  readonly text?: string;
  readonly vector?: Float32Array;
}

export interface VectorHit<M = Metadata> extends VectorEntry<M> {
  /** Higher is closer: the cosine, minus the euclidean distance, or the inner product. */
  readonly score: number;
}

export interface VectorListOptions<M = Metadata> extends VectorReadOptions {
  readonly filter?: Filter<M>;
  /** 1 to 1,000; default 50. */
  readonly limit?: number;
  /** The `next` of the page before. */
  readonly after?: string;
}

/** How many ids a call may name, and how many records a batch may have. */
export const MAX_IDS = 1_000;
const QUERY_KEYS = ['vector', 'id', 'topK', 'filter', 'minScore', 'exact', 'consistency'];

export interface CheckedQuery {
  readonly topK: number;
  readonly exact: boolean;
  readonly consistency: 'eventual' | 'session';
  readonly minScore: number | undefined;
}

/** What can be said of a query without its collection. @throws `VALIDATION`, `UNSUPPORTED` */
export function checkQuery<M>(query: VectorQuery<M>, capabilities: VectorCapabilities): CheckedQuery {
  const given: unknown = query;
  if (!isPlainObject(given)) throw invalid('query', given, 'an object with vector or id');
  for (const key of Object.keys(given)) {
    if (key === 'text' || key === 'sparse') throw new UnsupportedError(`query.${key} is not offered here`);
    if (!QUERY_KEYS.includes(key)) throw invalid(`query.${key}`, given[key], `one of ${QUERY_KEYS.join(', ')}`);
  }
  const { vector, id, topK = 10, exact = false, minScore, consistency = 'eventual' } = query;
  if ((vector === undefined) === (id === undefined)) throw invalid('query', query, 'either vector or id');
  if (id !== undefined) checkVectorId(id, 'query.id');
  if (!Number.isInteger(topK) || topK < 1 || topK > 10_000)
    throw invalid('topK', topK, 'a whole number from 1 to 10000');
  if (topK > capabilities.maxTopK)
    throw new UnsupportedError(`topK: at most ${capabilities.maxTopK} here, not ${topK}`);
  if (typeof exact !== 'boolean') throw invalid('exact', exact, 'true or false');
  if (exact && !capabilities.exact) throw new UnsupportedError('exact: this provider has no exact search');
  if (minScore !== undefined && (typeof minScore !== 'number' || !Number.isFinite(minScore)))
    throw invalid('minScore', minScore, 'a finite number');
  if (consistency !== 'eventual' && consistency !== 'session')
    throw invalid('consistency', consistency, "'eventual' or 'session'");
  if (consistency === 'session' && capabilities.consistency === 'eventual')
    throw new UnsupportedError('consistency: this provider cannot wait for its own writes');
  return { topK, exact, consistency, minScore };
}

export type CheckedSelection =
  { readonly ids: readonly string[] } | { readonly filter: unknown } | { readonly all: true };

/** Exactly one of the three ways to say what is deleted. @throws `VALIDATION` */
export function checkSelection(selection: unknown): CheckedSelection {
  const keys = isPlainObject(selection) ? Object.keys(selection) : [];
  if (isPlainObject(selection) && keys.length === 1) {
    const { ids, all } = selection;
    if (all === true) return { all };
    if (Array.isArray(ids) && ids.length <= MAX_IDS)
      return { ids: [...new Set(ids.map((id: unknown, i) => checkVectorId(id, `ids[${i}]`)))] };
    if (keys[0] === 'filter') return { filter: selection['filter'] };
  }
  throw invalid('selection', selection, `{ ids } (at most ${MAX_IDS}), { filter } or { all: true }`);
}

export function checkInclude(include: unknown = {}): VectorInclude {
  if (!isPlainObject(include)) throw invalid('include', include, 'an object of vector, metadata and text');
  const { vector = false, metadata = true, text = true, ...others } = include;
  for (const [key, value] of Object.entries({ vector, metadata, text }))
    if (typeof value !== 'boolean') throw invalid(`include.${key}`, value, 'true or false');
  for (const key of Object.keys(others)) throw invalid(`include.${key}`, others[key], 'one of vector, metadata, text');
  return { vector, metadata, text } as VectorInclude;
}
