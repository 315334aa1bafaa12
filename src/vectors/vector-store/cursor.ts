/** Cursors of `list`: the provider's own position, bound to the query that it belongs to. */
import { ValidationError } from '../../errors.js';
import { ALL } from '../../filter/syntax.js';
import { queryHash } from '../../filter/cursor.js';
import type { CompiledFilter, VectorSchema, VectorScope } from '../provider.js';

const FORMAT = 1;

export function listHash(schema: VectorSchema, scope: VectorScope, filter: CompiledFilter | 'all'): string {
  return queryHash(`${schema.name}\0${scope.namespace}`, scope.tenant, [], filter === 'all' ? ALL : filter.tree);
}

export function encodeListCursor(position: string, hash: string): string {
  return Buffer.from(JSON.stringify([FORMAT, hash, position])).toString('base64url');
}

/** @throws `INVALID_CURSOR` when it is malformed or was made by another query. Its position is still not trusted. */
export function decodeListCursor(cursor: unknown, hash: string): string {
  if (typeof cursor !== 'string') throw refuse(`expected a string, got ${typeof cursor}`);
  if (cursor.length > 8_192 || !/^[A-Za-z0-9_-]+$/.test(cursor)) throw refuse('it is malformed');
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    throw refuse('it is malformed');
  }
  if (!Array.isArray(content) || content.length !== 3 || content[0] !== FORMAT) throw refuse('it is malformed');
  const [, madeBy, position] = content as unknown[];
  if (madeBy !== hash) throw refuse('it belongs to another query (collection, tenant, namespace or filter)');
  if (typeof position !== 'string' || !position.isWellFormed() || position.includes('\0'))
    throw refuse('it is malformed');
  return position;
}

function refuse(reason: string): ValidationError {
  return new ValidationError('INVALID_CURSOR', `The cursor cannot be used: ${reason}`, { details: { reason } });
}
