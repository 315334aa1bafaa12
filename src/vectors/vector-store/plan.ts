/** Requests of a host, checked before any I/O. */
import { invalid, UnsupportedError, ValidationError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { wordsOf } from '../../filter/text.js';
import { compileMetadataFilter, type FoldedFilter } from '../codec/filter.js';
import { VECTOR_LIMITS as LIMITS } from '../codec/limits.js';
import { checkSparseOf, checkVectorOf } from '../codec/record.js';
import { checkKeys, checkVectorId, checkVectorIds, checkVectorText, checkWhole } from '../codec/values.js';
import type {
  CompiledFilter,
  VectorCapabilities,
  VectorInclude,
  VectorProvider,
  VectorSchema,
  VectorSearch,
  VectorSelection,
} from '../provider.js';

const CALL_KEYS = ['namespace', 'signal', 'timeout'];
const SEARCH_KEYS = [
  'vector',
  'sparse',
  'id',
  'text',
  'topK',
  'filter',
  'minScore',
  'exact',
  'explain',
  'consistency',
  'include',
  ...CALL_KEYS,
];

/** Options without the ones that mean nothing. @throws `VALIDATION` naming an unknown one. */
export function checkOptions(options: unknown, extra: readonly string[]): void {
  if (options !== undefined) checkKeys(options, 'options', [...CALL_KEYS, ...extra]);
}

export function checkInclude(include: unknown): VectorInclude {
  if (include === undefined) return { vector: false, metadata: true, text: true };
  const {
    vector = false,
    metadata = true,
    text = true,
  } = checkKeys(include, 'include', ['vector', 'metadata', 'text']);
  const flag = (value: unknown, key: string): boolean => {
    if (typeof value !== 'boolean') throw invalid(`include.${key}`, value, 'true or false');
    return value;
  };
  return { vector: flag(vector, 'vector'), metadata: flag(metadata, 'metadata'), text: flag(text, 'text') };
}

/** A filter that is given but undefined is refused: it was meant to restrict something. */
export function planFilter(request: object, schema: VectorSchema, capabilities: VectorCapabilities): FoldedFilter {
  if (!('filter' in request)) return 'all';
  return compileMetadataFilter(request.filter, schema, capabilities.operators);
}

/** The part of a provider's request that says the filter; nothing where it matches all. */
export function restriction(filter: CompiledFilter | 'all'): { readonly filter?: CompiledFilter } {
  return filter === 'all' ? {} : { filter };
}

export type QueryVectors = Pick<VectorSearch, 'vector' | 'sparse'>;

export interface SearchPlan extends Omit<VectorSearch, 'vector' | 'sparse' | 'filter'> {
  /** What is near; absent: only a text is asked for. */
  readonly near: QueryVectors | { readonly id: string } | undefined;
  readonly words: readonly string[] | undefined;
  readonly explain: boolean;
  readonly filter: FoldedFilter;
  readonly minScore: number | undefined;
}

/** @throws `VALIDATION`, `INVALID_FILTER`, `UNSUPPORTED` */
export function planSearch(request: unknown, schema: VectorSchema, provider: VectorProvider): SearchPlan {
  const { capabilities } = provider;
  if (!isPlainObject(request)) throw invalid('query', request, 'an object with a vector or an id');
  const {
    topK = 10,
    minScore,
    exact = false,
    explain = false,
    consistency = 'eventual',
    include,
  } = checkKeys(request, 'query', SEARCH_KEYS);
  const count = checkWhole(topK, 'topK', 1, schema.dimension === 0 ? LIMITS.sparseTopK : LIMITS.topK);
  if (count > capabilities.maxTopK)
    throw new UnsupportedError(`topK: the provider has at most ${capabilities.maxTopK}`);
  if (typeof exact !== 'boolean') throw invalid('exact', exact, 'true or false');
  if (typeof explain !== 'boolean') throw invalid('explain', explain, 'true or false');
  if (explain && (provider.explain === undefined || request['text'] !== undefined))
    throw new UnsupportedError('explain: how this search is done is not known');
  if (exact && !capabilities.exact) throw new UnsupportedError('exact: the provider has no exact search');
  if (consistency !== 'eventual' && consistency !== 'session')
    throw invalid('consistency', consistency, "'eventual' or 'session'");
  if (consistency === 'session' && capabilities.consistency === 'eventual')
    throw new UnsupportedError("consistency: the provider's reads are eventual only");
  if (minScore !== undefined && (typeof minScore !== 'number' || !Number.isFinite(minScore)))
    throw invalid('minScore', minScore, 'a finite number');
  const words = planWords(request, schema);
  if (words !== undefined && minScore !== undefined)
    throw new ValidationError('VALIDATION', 'minScore: the score of a text has no scale to measure it by', {
      details: { key: 'minScore' },
    });
  return {
    near: planNear(request, schema, provider),
    words,
    topK: count,
    filter: planFilter(request, schema, capabilities),
    minScore,
    exact,
    explain,
    consistency,
    include: checkInclude(include),
  };
}

function planNear(
  { vector, sparse: given, id, text }: Record<string, unknown>,
  schema: VectorSchema,
  provider: VectorProvider,
): SearchPlan['near'] {
  const asked = vector !== undefined || given !== undefined;
  if (asked && id !== undefined)
    throw new ValidationError('VALIDATION', 'query: expected either a vector or an id', { details: { key: 'query' } });
  if (id !== undefined) return { id: checkVectorId(id) };
  if (asked) {
    const sparse = checkSparseOf(schema, given, 'sparse');
    const dense = checkVectorOf(schema, vector, 'vector', provider.vectorFault?.bind(provider));
    return { vector: dense, ...(sparse === undefined ? {} : { sparse }) };
  }
  if (text !== undefined) return undefined;
  throw new ValidationError('VALIDATION', 'query: expected a vector, an id or a text', { details: { key: 'query' } });
}

/** @throws `VALIDATION` for what is no text, or has no word; `UNSUPPORTED` where texts are not searched. */
function planWords({ text }: Record<string, unknown>, schema: VectorSchema): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const words = [...new Set(wordsOf(checkVectorText(text, 'text', LIMITS.searchedTextBytes)))];
  if (words.length === 0 || words.length > LIMITS.words)
    throw invalid('text', text, `text with 1 to ${LIMITS.words} words`);
  if (schema.text === undefined)
    throw new UnsupportedError(
      `text: the collection ${schema.name} was made without text, so its texts are not searched`,
    );
  return words;
}

/** @throws `VALIDATION` for a selection of everything that does not say so, `INVALID_FILTER`, `UNSUPPORTED`. */
export function planDeletion(
  selection: unknown,
  schema: VectorSchema,
  capabilities: VectorCapabilities,
): VectorSelection | 'nothing' {
  if (Array.isArray(selection)) return planIds(selection);
  const given = checkKeys(selection, 'selection', ['ids', 'filter', 'all']);
  if (Object.keys(given).length !== 1)
    throw invalid('selection', selection, 'an array of ids, or one of ids, filter and all: true');
  if ('ids' in given) return planIds(given['ids']);
  if ('all' in given) {
    if (given['all'] !== true) throw invalid('selection.all', given['all'], 'true');
    return { all: true };
  }
  const filter = compileMetadataFilter(given['filter'], schema, capabilities.operators);
  if (filter === 'nothing') return 'nothing';
  if (filter === 'all')
    throw invalid('filter', given['filter'], 'a filter that does not match everything (all is { all: true })');
  return { filter };
}

function planIds(given: unknown): VectorSelection | 'nothing' {
  const ids = [...new Set(checkVectorIds(given))];
  return ids.length === 0 ? 'nothing' : { ids };
}
