/**
 * Vector collections of one tenant, as a host uses them: everything that does not depend on the provider, derived once
 * above the providers. A handle is cheap and makes no connection of its own.
 */
import { eachStep, type OperationContext } from '../component.js';
import { UnsupportedError } from '../errors.js';
import type { Filter } from '../filter/syntax.js';
import { fuse, fusionDepth } from './codec/fusion.js';
import { VECTOR_LIMITS as LIMITS } from './codec/limits.js';
import { checkVectorId, checkVectorIds, checkWhole } from './codec/values.js';
import type { ScoredVector, TextSearch, VectorSchema, VectorScope, VectorSearch } from './provider.js';
import { decodeListCursor, encodeListCursor, listHash } from './vector-store/cursor.js';
import { decodeHits, decodeVector } from './vector-store/decode.js';
import type {
  ExplainedHits,
  FetchedRecord,
  Metadata,
  NamespaceOptions,
  ReadOptions,
  VectorDeletion,
  VectorHit,
  VectorListOptions,
  VectorPage,
  VectorQuery,
} from './vector-store/options.js';
import {
  checkInclude,
  checkOptions,
  planDeletion,
  planFilter,
  planSearch,
  restriction,
  type QueryVectors,
} from './vector-store/plan.js';
import { missingRecord } from './vector-store/schemas.js';
import { VectorWriter } from './vector-store/writer.js';

export type * from './vector-store/options.js';

/** A filter that can match nothing is answered before any I/O. */
const NOTHING_TO_DO = { scan: 'exact', completed: false, plan: 'No record can match the filter' } as const;

/** How many ids one request to a provider names. */
const IDS_PER_REQUEST = 1_000;

export class VectorStore extends VectorWriter {
  /** In the order of the ids; `undefined` for what is not there. */
  async fetch<M = Metadata>(
    name: string,
    ids: readonly string[],
    options?: ReadOptions,
  ): Promise<(FetchedRecord<M> | undefined)[]> {
    const given = checkVectorIds(ids);
    const include = checkInclude(options?.include);
    const scope = this.scope(options);
    return this.inCollection('fetch', name, options, ['include'], async (schema, context) => {
      const distinct = [...new Set(given)];
      const found = new Map<string, FetchedRecord<M>>();
      for (let i = 0; i < distinct.length; i += IDS_PER_REQUEST) {
        const part = distinct.slice(i, i + IDS_PER_REQUEST);
        for (const vector of await this.provider.fetch(schema, scope, part, include, context))
          if (vector !== undefined) found.set(vector.id, decodeVector<M>(vector, schema, include));
      }
      return given.map((id) => found.get(id));
    });
  }

  /** @throws `NOT_FOUND` */
  async get<M = Metadata>(name: string, id: string, options?: ReadOptions): Promise<FetchedRecord<M>> {
    const [record] = await this.fetch<M>(name, [checkVectorId(id)], options);
    if (record === undefined) throw missingRecord(this.provider, name, id);
    return record;
  }

  /** A page of records, in the provider's order (`capabilities.listOrder`). */
  async list<M = Metadata>(name: string, options: VectorListOptions<M> = {}): Promise<VectorPage<M>> {
    checkOptions(options, ['include', 'filter', 'limit', 'after']);
    const include = checkInclude(options.include);
    const limit = checkWhole(options.limit ?? 50, 'limit', 1, LIMITS.pageItems);
    const scope = this.scope(options);
    return this.inCollection(
      'list',
      name,
      options,
      undefined,
      async (schema, context, confirm): Promise<VectorPage<M>> => {
        const filter = planFilter(options, schema, this.capabilities);
        if (filter === 'nothing') return confirm().then(() => ({ items: [] }));
        const hash = listHash(schema, scope, filter);
        const after = options.after === undefined ? {} : { after: decodeListCursor(options.after, hash) };
        const page = await this.provider.list(
          schema,
          scope,
          { limit, include, ...after, ...restriction(filter) },
          context,
        );
        const items = page.items.map((vector) => decodeVector<M>(vector, schema, include));
        return page.next === undefined ? { items } : { items, next: encodeListCursor(page.next, hash) };
      },
    );
  }

  /** Every record that `list` would give, page by page; each page is an operation of its own. */
  async *each<M = Metadata>(
    name: string,
    options: Omit<VectorListOptions<M>, 'after'> = {},
  ): AsyncGenerator<FetchedRecord<M>, void, undefined> {
    for await (const items of eachStep(this.admit, 'each', () => this.pages<M>(name, options))) yield* items;
  }

  private async *pages<M>(
    name: string,
    options: Omit<VectorListOptions<M>, 'after'>,
  ): AsyncGenerator<VectorPage<M>['items'], void, undefined> {
    let after: string | undefined;
    do {
      const page: VectorPage<M> = await this.list<M>(name, after === undefined ? options : { ...options, after });
      yield page.items;
      after = page.next;
    } while (after !== undefined);
  }

  async count<M = Metadata>(name: string, filter?: Filter<M>, options?: NamespaceOptions): Promise<number> {
    const scope = this.scope(options);
    return this.inCollection('count', name, options, [], async (schema, context, confirm) => {
      const planned = planFilter(filter === undefined ? {} : { filter }, schema, this.capabilities);
      if (planned === 'nothing') return confirm().then(() => 0);
      return this.provider.count(schema, scope, restriction(planned).filter, context);
    });
  }

  /**
   * Deletes by ids, by a filter, or everything of the namespace. `deleted` is absent where the provider does not say.
   * @throws `VALIDATION` for a filter that matches everything: that is said as `{ all: true }`.
   */
  async delete<M = Metadata>(
    name: string,
    selection: VectorDeletion<M>,
    options?: NamespaceOptions,
  ): Promise<{ readonly deleted?: number }> {
    const scope = this.scope(options);
    return this.inCollection('delete', name, options, [], async (schema, context, confirm) => {
      const planned = planDeletion(selection, schema, this.capabilities);
      if (planned === 'nothing') return confirm().then(() => ({ deleted: 0 }));
      if (!('ids' in planned)) return this.provider.delete(schema, scope, planned, context);
      let deleted: number | undefined = 0;
      for (let i = 0; i < planned.ids.length; i += IDS_PER_REQUEST) {
        const ids = planned.ids.slice(i, i + IDS_PER_REQUEST);
        const part = await this.provider.delete(schema, scope, { ids }, context);
        deleted = deleted === undefined || part.deleted === undefined ? undefined : deleted + part.deleted;
      }
      return deleted === undefined ? {} : { deleted };
    });
  }

  /**
   * The nearest records, the closest first, ties in the order of their ids; with `text` those that have its words, with
   * both the best of both by rank.
   * @throws `NOT_FOUND` for the collection, or for the `id` to search with; `VALIDATION`, `INVALID_FILTER`; `UNSUPPORTED`
   * for what the provider cannot do.
   */
  search<M = Metadata>(name: string, query: VectorQuery<M> & { readonly explain: true }): Promise<ExplainedHits<M>>;
  search<M = Metadata>(
    name: string,
    query: VectorQuery<M> & { readonly explain?: false | undefined },
  ): Promise<VectorHit<M>[]>;
  async search<M = Metadata>(name: string, query: VectorQuery<M>): Promise<VectorHit<M>[] | ExplainedHits<M>> {
    const options = typeof query === 'object' && query !== null ? query : undefined;
    const scope = this.scope(options);
    return this.inCollection('search', name, options, undefined, async (schema, context, confirm) => {
      const { filter, minScore, near, words, explain, ...rest } = planSearch(query, schema, this.provider);
      if (filter === 'nothing') return confirm().then(() => (explain ? { hits: [], ...NOTHING_TO_DO } : []));
      const request = { ...rest, ...restriction(filter) };
      const vectors =
        near !== undefined && 'id' in near ? await this.vectorsOf(schema, scope, near.id, rest, context) : near;
      const found =
        words === undefined
          ? await this.provider.search(schema, scope, { ...request, ...vectors! }, context)
          : await this.searchText(schema, scope, { ...request, words }, vectors, context);
      const isScaled = words === undefined;
      const hits = decodeHits<M>(found, schema, request.include, { minScore, isScaled }).slice(0, request.topK);
      if (!explain) return hits;
      return { hits, ...(await this.provider.explain!(schema, scope, { ...request, ...vectors! }, context)) };
    });
  }

  /** By the words alone, or by them and the vector: each gives a list, and the ranks in both count. */
  private async searchText(
    schema: VectorSchema,
    scope: VectorScope,
    request: Omit<VectorSearch, keyof QueryVectors> & Pick<TextSearch, 'words'>,
    vectors: QueryVectors | undefined,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const { provider } = this;
    if (provider.searchText === undefined) throw new UnsupportedError('text: the provider does not search texts');
    if (vectors === undefined) return provider.searchText(schema, scope, request, context);
    const deeper = { ...request, topK: fusionDepth(request.topK, provider.capabilities.maxTopK) };
    return fuse(
      await Promise.all([
        provider.search(schema, scope, { ...deeper, ...vectors }, context),
        provider.searchText(schema, scope, deeper, context),
      ]),
    );
  }

  private async vectorsOf(
    schema: VectorSchema,
    scope: VectorScope,
    id: string,
    { consistency }: Pick<VectorSearch, 'consistency'>,
    context: OperationContext,
  ): Promise<QueryVectors> {
    const include = { vector: true, metadata: false, text: false };
    const [found] = await this.provider.fetch(schema, scope, [id], include, context, consistency);
    if (found === undefined || (found.vector === undefined && schema.dimension > 0))
      throw missingRecord(this.provider, schema.name, id);
    const { vector = new Float32Array(0), sparse } = found;
    return { vector, ...(sparse === undefined ? {} : { sparse }) };
  }
}
