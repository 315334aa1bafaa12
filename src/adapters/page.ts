/** One page of a store's list: as those of collections, of at most 100. */
import type { Stored } from '../backends/backend.js';
import type { CollectionDefinition } from '../collection/definition.js';
import { fetchPage, planPage, type ListOptions, type Page } from '../collection/page.js';
import { RecordCodec, type StoredRecord } from '../collection/record-codec.js';
import type { CallOptions, OperationContext } from '../component.js';
import { invalid } from '../errors.js';
import { normalize } from '../filter/normalize.js';
import { NOTHING, parseFilter, type Filter } from '../filter/syntax.js';
import type { StoreHost } from './host.js';

/** `next` and `previous` are cursors: pass either as `after`. */
export type ListPage<E> = Page<E>;

export interface PageOptions extends CallOptions {
  /** 1 to 100; default 50. */
  readonly limit?: number | undefined;
  /** A page's `next` or `previous`, of the same list. */
  readonly after?: string | undefined;
}

const MOST = 100;

/** @throws `VALIDATION` */
function checkPageOptions({ limit = 50, after }: PageOptions): { limit: number; after: string | undefined } {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MOST)
    throw invalid('limit', limit, `a whole number from 1 to ${MOST}`);
  if (after !== undefined && typeof after !== 'string') throw invalid('after', after, 'a cursor');
  return { limit, after };
}

/**
 * Checks all that is asked for, so that it is refused before any table is made.
 * @returns what fetches the page, of what `read` makes of each record @throws `INVALID_CURSOR`, `VALIDATION`
 */
export function preparePage<T, R>(
  { backend, tenant }: StoreHost,
  definition: CollectionDefinition<T>,
  filter: Filter<T>,
  sort: ListOptions<string>['sort'],
  options: PageOptions,
  read: (record: StoredRecord<T>) => R,
): (context: OperationContext) => Promise<ListPage<R>> {
  const { limit, after } = checkPageOptions(options);
  const { name, schema, domain } = definition;
  const wanted = normalize(parseFilter(filter, domain));
  const plan = planPage(name, tenant, domain, wanted, { limit, sort, after });
  const codec = new RecordCodec(definition, backend.capabilities.maxRecordBytes);
  const decode = (row: Stored): R => read(codec.decode(row));
  return async (context) =>
    wanted === NOTHING ? { items: [] } : fetchPage(backend, schema, { tenant }, plan, decode, context);
}
