/** Cursors of `list`: the provider's own position, bound to the query that it belongs to. */
import { malformedCursor, packCursor, queryHash, unpackCursor } from '../../filter/cursor.js';
import { ALL } from '../../filter/syntax.js';
import type { CompiledFilter, VectorSchema, VectorScope } from '../provider.js';

export function listHash(schema: VectorSchema, scope: VectorScope, filter: CompiledFilter | 'all'): string {
  return queryHash(`${schema.name}\0${scope.namespace}`, scope.tenant, [], filter === 'all' ? ALL : filter.tree);
}

export function encodeListCursor(position: string, hash: string): string {
  return packCursor(hash, [position]);
}

/** @throws `INVALID_CURSOR` when it is malformed or was made by another query. Its position is still not trusted. */
export function decodeListCursor(cursor: unknown, hash: string): string {
  const [position] = unpackCursor(cursor, hash, 1);
  if (typeof position !== 'string' || !position.isWellFormed() || position.includes('\0')) throw malformedCursor();
  return position;
}
