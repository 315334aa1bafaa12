/** Ids, tenants and namespaces as the service takes them: ASCII without spaces, whatever the host's text is. */
import { createHash } from 'node:crypto';
import { ValidationError } from '../../errors.js';
import { DEFAULT_TENANT } from '../codec/scope.js';
import type { VectorScope } from '../provider.js';

const ID_BYTES = 512;
const NAMESPACE_CHARACTERS = 512;
/** The service's own name of the namespace that is not named. */
const DEFAULT_NAMESPACE = '__default__';

/** @throws `VALIDATION` for a name of a collection that cannot be one of an index. */
export function checkIndexName(name: string, component: string): string {
  if (name.endsWith('-'))
    throw new ValidationError('VALIDATION', 'name: expected a letter or a digit at the end, as Pinecone does', {
      component,
      details: { key: 'name', name },
    });
  return name;
}

/** Unlike for any two scopes: the separator is encoded in both parts, and a hash, of what would be too long, has none. */
export function namespaceOf({ tenant, namespace }: VectorScope): string {
  if (tenant === DEFAULT_TENANT && namespace === '') return DEFAULT_NAMESPACE;
  const name = `${encodeURIComponent(tenant)}/${encodeURIComponent(namespace)}`;
  return name.length <= NAMESPACE_CHARACTERS ? name : `sha256-${createHash('sha256').update(name).digest('hex')}`;
}

/**
 * Most ids stay as they are. A space is refused where ids are fetched, and what the service makes of other text than
 * ASCII is not documented.
 */
function encoded(id: string): string {
  return id.replace(/[^\x21-\x7e]+|%/g, (text) => percents(text));
}

/** What keeps an id out of the service. */
export function idFault(id: string): string | undefined {
  const { length } = encoded(id);
  if (length <= ID_BYTES) return undefined;
  return `has an id of ${length} bytes as Pinecone keeps it, with spaces and what is not ASCII percent-encoded, more than ${ID_BYTES}`;
}

/** @throws `VALIDATION` for an id that is too long as the service takes it. */
export function encodeId(id: string, component: string): string {
  const kept = encoded(id);
  if (kept.length > ID_BYTES)
    throw new ValidationError(
      'VALIDATION',
      `id: expected at most ${ID_BYTES} bytes as Pinecone keeps it, with spaces and what is not ASCII percent-encoded, got ${kept.length}`,
      { component, details: { key: 'id', bytes: kept.length, maxBytes: ID_BYTES } },
    );
  return kept;
}

function percents(text: string): string {
  return [...Buffer.from(text)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
}

export function decodeId(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    // Written by another program.
    return encoded;
  }
}
