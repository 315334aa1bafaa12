/** One page of a store's list: as those of collections, of at most 100. */
import type { Page } from '../collection/page.js';
import type { CallOptions } from '../component.js';
import { invalid } from '../errors.js';

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
export function checkPageOptions({ limit = 50, after }: PageOptions): { limit: number; after: string | undefined } {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MOST)
    throw invalid('limit', limit, `a whole number from 1 to ${MOST}`);
  if (after !== undefined && typeof after !== 'string') throw invalid('after', after, 'a cursor');
  return { limit, after };
}
