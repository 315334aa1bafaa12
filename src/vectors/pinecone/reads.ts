/** Reads of records: by ids, by pages, by nearness, and their number. */
import type { QueryByVectorValues, ScoredPineconeRecord } from '@pinecone-database/pinecone';
import type { OperationContext } from '../../component.js';
import { isStorageError, ValidationError } from '../../errors.js';
import type {
  CompiledFilter,
  FetchedVector,
  ScoredVector,
  VectorInclude,
  VectorList,
  VectorSchema,
  VectorScope,
  VectorSearch,
} from '../provider.js';
import { all, cut } from './batches.js';
import type { Calls, Found, Target } from './calls.js';
import { compileFilter } from './filter.js';
import type { Freshness } from './freshness.js';
import { encodeId, namespaceOf } from './names.js';
import { decodeVector, encodeSparse } from './record.js';
import { readScore } from './score.js';

/** What a page of the service holds at most, when nothing is said. */
const PAGE = 100;
/** Ids are fetched by a URL: at most so many, and so many bytes of it. */
const FETCH_LIMITS = { items: 100, bytes: 6_000 };
const FETCH_PATH = '/vectors/fetch?namespace=';

export class Reads {
  constructor(
    private readonly calls: Calls,
    private readonly freshness: Freshness,
  ) {}

  async fetch(
    target: Target,
    ids: readonly string[],
    include: VectorInclude,
    consistency: VectorSearch['consistency'],
  ): Promise<(FetchedVector | undefined)[]> {
    const found = new Map<string, FetchedVector>();
    const encoded = ids.map((id) => encodeId(id, this.calls.connection.component));
    const around = FETCH_PATH.length + encodeURIComponent(target.namespace).length;
    const limits = { ...FETCH_LIMITS, bytes: FETCH_LIMITS.bytes - around };
    const parts = cut(encoded, limits, (id) => encodeURIComponent(id).length + '&ids='.length);
    await all(parts, async (part) => {
      const { namespace } = target;
      const { records } = await this.seen(target, consistency, () =>
        this.calls.index(target, { records: {}, namespace }, (index) => index.fetch({ ids: part, namespace })),
      );
      for (const record of Object.values(records)) {
        const vector = decodeVector(record, include);
        found.set(vector.id, vector);
      }
    });
    return ids.map((id) => found.get(id));
  }

  async list(
    target: Target,
    { filter, limit, after, include }: VectorList,
  ): Promise<{ items: FetchedVector[]; next?: string }> {
    const items: FetchedVector[] = [];
    let next = after;
    do {
      const size = Math.min(PAGE, limit - items.length);
      const page = await this.page(target, filter, size, next, include);
      items.push(...page.items);
      next = page.next;
    } while (next !== undefined && items.length < limit);
    return next === undefined ? { items } : { items, next };
  }

  /** Of everything: what the service counts for itself. By a filter: how many an update would change. */
  async count(target: Target, filter: CompiledFilter | undefined): Promise<number> {
    const { namespace } = target;
    if (filter === undefined) return this.countAll(target);
    // Never with an id: the service is said to write then.
    const body = { namespace, filter: compileFilter(filter.pushed), dryRun: true };
    const answer = await this.calls.post(target, '/vectors/update', body);
    return Number((answer as { matchedRecords?: unknown } | undefined)?.matchedRecords ?? 0);
  }

  async search(target: Target, request: VectorSearch): Promise<ScoredVector[]> {
    return this.seen(target, request.consistency, () => this.nearest(target, request));
  }

  /** Waits until everything that was written here is seen by reads. */
  async settle(context: OperationContext): Promise<void> {
    await all(this.freshness.pending(), async (write) => {
      await this.settleTarget({ ...write, context, operation: 'settle' }).catch((error: unknown) => {
        // A collection that is gone has nothing left to wait for.
        if (!isStorageError(error, 'NOT_FOUND')) throw error;
      });
      this.freshness.settled(write);
    });
  }

  /** Waits until what was written here to one namespace is seen by reads. @throws `UNSUPPORTED` where nothing tells. */
  async settleTarget(target: Target): Promise<void> {
    const { dimension } = target.schema;
    const vector = Float32Array.from({ length: dimension }, () => 1);
    const sparse = { indices: Uint32Array.of(0), values: Float32Array.of(1) };
    const near = dimension === 0 ? { vector, sparse } : { vector };
    const include = { vector: false, metadata: false, text: false };
    await this.search(target, { ...near, topK: 1, include, exact: false, consistency: 'session' });
  }

  /** Repeats a read until it has seen what was written here, where that is asked for. @throws `TIMEOUT`, `UNSUPPORTED` */
  private async seen<R extends object>(
    target: Target,
    consistency: VectorSearch['consistency'],
    read: () => Promise<Found<R>>,
  ): Promise<R> {
    if (consistency === 'eventual') return (await read()).value;
    const message = 'What this process wrote was not indexed in time';
    return this.calls.connection.until(target.context, target.operation, message, async () => {
      const found = await read();
      return this.freshness.isFresh(target, found) ? found.value : undefined;
    });
  }

  private async page(
    target: Target,
    filter: CompiledFilter | undefined,
    limit: number,
    paginationToken: string | undefined,
    include: VectorInclude,
  ): Promise<{ items: FetchedVector[]; next: string | undefined }> {
    const { namespace } = target;
    const position = { namespace, limit, ...(paginationToken === undefined ? {} : { paginationToken }) };
    try {
      if (filter !== undefined) {
        const compiled = compileFilter(filter.pushed);
        const { value } = await this.calls.index(target, { records: {}, namespace }, (index) =>
          index.fetchByMetadata({ ...position, filter: compiled }),
        );
        const items = Object.values(value.records).map((record) => decodeVector(record, include));
        return { items, next: nextOf(value) };
      }
      const { value } = await this.calls.index(target, {}, (index) => index.listPaginated(position));
      const ids = (value.vectors ?? []).map(({ id = '' }) => decodeVector({ id }, include).id);
      return { items: await this.listed(target, ids, include), next: nextOf(value) };
    } catch (error) {
      if (paginationToken === undefined || !isStorageError(error, 'VALIDATION')) throw error;
      throw new ValidationError('INVALID_CURSOR', 'after: the service does not take this cursor any more', {
        component: error.component,
        cause: error,
      });
    }
  }

  /** The service lists ids alone. What is deleted meanwhile is left out. */
  private async listed(target: Target, ids: string[], include: VectorInclude): Promise<FetchedVector[]> {
    if (!include.vector && !include.metadata && !include.text) return ids.map((id) => ({ id }));
    return (await this.fetch(target, ids, include, 'eventual')).filter((vector) => vector !== undefined);
  }

  private async countAll(target: Target): Promise<number> {
    const { namespace } = target;
    let paginationToken: string | undefined;
    do {
      const page = paginationToken === undefined ? {} : { paginationToken };
      const { value } = await this.calls.index(target, {}, (index) =>
        index.listNamespaces({ prefix: namespace, limit: PAGE, ...page }),
      );
      const found = value.namespaces?.find(({ name }) => name === namespace);
      // A number of 64 bits may come as text.
      if (found !== undefined) return Number(found.recordCount ?? 0);
      paginationToken = nextOf(value);
    } while (paginationToken !== undefined);
    return 0;
  }

  private async nearest(target: Target, request: VectorSearch): Promise<Found<ScoredVector[]>> {
    const { include } = request;
    const { metadata, text, vector } = include;
    try {
      const found = await this.query(target, request, vector, metadata || text);
      const value = found.value.map((hit) => ({ ...decodeVector(hit, include), score: scoreOf(target, hit) }));
      return { ...found, value };
    } catch (error) {
      if (!isStorageError(error, 'VALIDATION') || !(vector || metadata || text)) throw error;
      return this.nearestIds(target, request, error);
    }
  }

  /** A result has at most 4 MB: what does not fit is asked for by the ids. */
  private async nearestIds(target: Target, request: VectorSearch, refusal: Error): Promise<Found<ScoredVector[]>> {
    const found = await this.query(target, request, false, false).catch((error: unknown) => {
      throw isStorageError(error, 'VALIDATION') ? refusal : error;
    });
    const ids = found.value.map((hit) => decodeVector(hit, request.include).id);
    // As fresh as the search is to be: a reader that is behind would give a record as it was before it was replaced.
    const fetched = await this.fetch(target, ids, request.include, request.consistency);
    const value = found.value.flatMap((hit, i) => {
      const vector = fetched[i];
      return vector === undefined ? [] : [{ ...vector, score: scoreOf(target, hit) }];
    });
    return { ...found, value };
  }

  private query(
    target: Target,
    { vector, sparse, topK, filter }: VectorSearch,
    includeValues: boolean,
    includeMetadata: boolean,
  ) {
    const { namespace } = target;
    const where = filter === undefined ? {} : { filter: compileFilter(filter.pushed) };
    const near = {
      ...(vector.length === 0 ? {} : { vector: [...vector] }),
      ...(sparse === undefined ? {} : { sparseVector: encodeSparse(sparse) }),
    };
    // The client's type has no query of sparse vectors alone, which its code and the service do.
    const query = { ...near, topK, namespace, includeValues, includeMetadata, ...where } as QueryByVectorValues;
    const none: ScoredPineconeRecord[] = [];
    return this.calls.index(target, none, async (index) => (await index.query(query)).matches);
  }
}

function scoreOf({ schema }: Target, { score = 0 }: ScoredPineconeRecord): number {
  return readScore(schema.metric, score);
}

function nextOf({ pagination }: { pagination?: { next?: string } | undefined }): string | undefined {
  return pagination?.next === '' ? undefined : pagination?.next;
}

export function targetOf(
  schema: VectorSchema,
  scope: VectorScope,
  operation: string,
  context: OperationContext,
): Target {
  return { schema, namespace: namespaceOf(scope), operation, context };
}
