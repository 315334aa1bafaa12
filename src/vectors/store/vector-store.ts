/** The vectors of one tenant at one provider: everything a host does with them, derived once over the provider's contract. */
import type { OperationContext } from '../../component.js';
import { invalid, NotFoundError } from '../../errors.js';
import { compareText } from '../../filter/evaluate.js';
import { isList } from '../../filter/json.js';
import type { Filter } from '../../filter/syntax.js';
import {
  checkNamespace,
  checkVectorId,
  decodeMetadata,
  encodeVector,
  type Metadata,
  type VectorRecord,
} from '../codec.js';
import type { CompiledFilter, FetchedVector, ScoredVector, VectorSchema, VectorScope } from '../provider.js';
import { VectorCollections } from './collections.js';
import {
  checkInclude,
  checkQuery,
  checkSelection,
  MAX_IDS,
  type VectorCallOptions,
  type VectorEntry,
  type VectorHit,
  type VectorListOptions,
  type VectorQuery,
  type VectorReadOptions,
} from './options.js';
import { checkVectorCollectionName, compileVectorFilter } from './schema.js';
import { checkSource, upsertAll, type UpsertOptions, type UpsertReport } from './upsert.js';

export class VectorStore extends VectorCollections {
  /**
   * Inserts or replaces whole records. An array is validated whole before any I/O; of an (async) iterable what is wrong is
   * reported and the rest written, batch by batch, so that the source is read no faster than the provider writes.
   */
  async upsert<M = Metadata>(
    name: string,
    records: readonly VectorRecord<M>[] | Iterable<VectorRecord<M>> | AsyncIterable<VectorRecord<M>>,
    options: UpsertOptions = {},
  ): Promise<UpsertReport> {
    checkVectorCollectionName(name);
    checkSource(records);
    const scope = this.scope(options);
    const schema = await this.run('upsert', options, (context) => this.schema(name, context));
    const batchSize = Math.min(this.capabilities.maxBatch, MAX_IDS);
    return upsertAll(records, schema, batchSize, options, (batch) =>
      this.run('upsert', options, (context) =>
        this.current(name, context, (latest) => this.provider.upsert(latest, scope, batch, context)),
      ),
    );
  }

  /** Up to 1,000 records in the order of the ids; `undefined` for what is not there. */
  async fetch<M = Metadata>(
    name: string,
    ids: readonly string[],
    options: VectorReadOptions = {},
  ): Promise<(VectorEntry<M> | undefined)[]> {
    checkVectorCollectionName(name);
    if (!isList(ids) || ids.length > MAX_IDS) throw invalid('ids', ids, `an array of at most ${MAX_IDS} ids`);
    ids.forEach((id, i) => checkVectorId(id, `ids[${i}]`));
    const scope = this.scope(options);
    const include = checkInclude(options.include);
    if (ids.length === 0) return [];
    return this.run('fetch', options, (context) =>
      this.current(name, context, async (schema) => {
        const found = await this.provider.fetch(schema, scope, ids, include, context);
        return found.map((entry) => (entry === undefined ? undefined : decode<M>(entry, schema)));
      }),
    );
  }

  /** @throws `NotFoundError` when it is not there. */
  async get<M = Metadata>(name: string, id: string, options: VectorReadOptions = {}): Promise<VectorEntry<M>> {
    const [entry] = await this.fetch<M>(name, [id], options);
    if (entry === undefined)
      throw new NotFoundError(`${name}: the vector ${JSON.stringify(id)} is not there`, {
        component: this.provider.name,
        operation: 'get',
        details: { collection: name, id },
      });
    return entry;
  }

  /** One page of the records that match; the order is the provider's (`capabilities.listOrder`). */
  async list<M = Metadata>(
    name: string,
    options: VectorListOptions<M> = {},
  ): Promise<{ readonly items: VectorEntry<M>[]; readonly next?: string }> {
    checkVectorCollectionName(name);
    const { limit = 50, after } = options;
    if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
      throw invalid('limit', limit, 'a whole number from 1 to 1000');
    if (after !== undefined && typeof after !== 'string') throw invalid('after', after, "a page's next");
    const scope = this.scope(options);
    const include = checkInclude(options.include);
    return this.run('list', options, (context) =>
      this.current(name, context, async (schema) => {
        const filter = this.compile(options.filter, schema);
        if (filter === 'nothing') return { items: [] };
        const request = { limit, include, ...(after === undefined ? {} : { after }), ...given(filter) };
        const { items, next } = await this.provider.list(schema, scope, request, context);
        const decoded = items.map((entry) => decode<M>(entry, schema));
        return next === undefined ? { items: decoded } : { items: decoded, next };
      }),
    );
  }

  /** Every record that matches, a page of 200 in memory at a time. */
  async *each<M = Metadata>(
    name: string,
    options: Omit<VectorListOptions<M>, 'limit' | 'after'> = {},
  ): AsyncGenerator<VectorEntry<M>, void, undefined> {
    let after: string | undefined;
    do {
      const page = await this.list<M>(name, { ...options, limit: 200, ...(after === undefined ? {} : { after }) });
      yield* page.items;
      after = page.next;
    } while (after !== undefined);
  }

  async count<M = Metadata>(name: string, filter?: Filter<M>, options: VectorCallOptions = {}): Promise<number> {
    checkVectorCollectionName(name);
    const scope = this.scope(options);
    return this.run('count', options, (context) =>
      this.current(name, context, async (schema) => {
        const compiled = this.compile(filter, schema);
        if (compiled === 'nothing') return 0;
        return this.provider.count(schema, scope, compiled === 'all' ? undefined : compiled, context);
      }),
    );
  }

  /**
   * Deletes by ids, by filter, or all. `deleted` is absent where the provider does not tell.
   * @throws `VALIDATION` for a filter that matches everything.
   */
  async delete<M = Metadata>(
    name: string,
    selection: { readonly ids: readonly string[] } | { readonly filter: Filter<M> } | { readonly all: true },
    options: VectorCallOptions = {},
  ): Promise<{ readonly deleted?: number }> {
    checkVectorCollectionName(name);
    const scope = this.scope(options);
    const checked = checkSelection(selection);
    if ('ids' in checked && checked.ids.length === 0) return { deleted: 0 };
    return this.run('delete', options, (context) =>
      this.current(name, context, async (schema) => {
        if (!('filter' in checked)) return this.provider.delete(schema, scope, checked, context);
        const filter = this.compile(checked.filter, schema);
        if (filter === 'all')
          throw invalid('filter', checked.filter, 'a filter that does not match everything (all is { all: true })');
        return filter === 'nothing' ? { deleted: 0 } : this.provider.delete(schema, scope, { filter }, context);
      }),
    );
  }

  /** The nearest records: by score, ties by id. */
  async search<M = Metadata>(
    name: string,
    query: VectorQuery<M>,
    options: VectorReadOptions = {},
  ): Promise<VectorHit<M>[]> {
    checkVectorCollectionName(name);
    const { topK, exact, consistency, minScore } = checkQuery(query, this.capabilities);
    const scope = this.scope(options);
    const include = checkInclude(options.include);
    return this.run('search', options, (context) =>
      this.current(name, context, async (schema) => {
        const filter = this.compile(query.filter, schema);
        const vector = query.vector === undefined ? undefined : encodeVector(query.vector, schema.dimension);
        if (filter === 'nothing') return [];
        const near = vector ?? (await this.vectorOf(schema, scope, query.id!, context));
        const request = { vector: near, topK, exact, consistency, include, ...given(filter) };
        const found = await this.provider.search(schema, scope, request, context);
        return found
          .filter(({ score }) => minScore === undefined || score >= minScore)
          .sort((a, b) => b.score - a.score || compareText(a.id, b.id))
          .slice(0, topK)
          .map((hit) => ({ ...decode<M>(hit, schema), score: hit.score }));
      }),
    );
  }

  private async vectorOf(
    schema: VectorSchema,
    scope: VectorScope,
    id: string,
    context: OperationContext,
  ): Promise<Float32Array> {
    const include = { vector: true, metadata: false, text: false };
    const [entry] = await this.provider.fetch(schema, scope, [id], include, context);
    if (entry?.vector === undefined)
      throw new NotFoundError(`${schema.name}: the vector ${JSON.stringify(id)} is not there`, {
        component: this.provider.name,
        operation: 'search',
        details: { collection: schema.name, id },
      });
    return entry.vector;
  }

  private scope({ namespace = '' }: VectorCallOptions): VectorScope {
    return { tenant: this.tenant, namespace: checkNamespace(namespace) };
  }

  private compile(filter: unknown, schema: VectorSchema): 'all' | 'nothing' | CompiledFilter {
    return filter === undefined ? 'all' : compileVectorFilter(filter, schema, this.capabilities);
  }
}

function given(filter: 'all' | CompiledFilter): { readonly filter?: CompiledFilter } {
  return filter === 'all' ? {} : { filter };
}

function decode<M>(entry: FetchedVector | ScoredVector, schema: VectorSchema): VectorEntry<M> {
  const { id, vector, metadata, text } = entry;
  return {
    id,
    ...(metadata === undefined ? {} : { metadata: decodeMetadata(metadata, schema) as M }),
    ...(text === undefined ? {} : { text }),
    ...(vector === undefined ? {} : { vector }),
  };
}
