/**
 * The names of the server's collections: for each of ours a root, which holds no records, and one for each tenant and
 * namespace that was written to. Those carry the root's id, so that what is left of a collection that was deleted, by a
 * process that wrote to it at that moment, is never seen in one that was made anew under its name.
 */
import { createHash } from 'node:crypto';
import type { VectorScope } from '../provider.js';

export const PREFIX = 'qm.';
const ROOT = '.root';
const MAX_NAME = 512;

export function rootName(collection: string): string {
  return `${PREFIX}${collection}${ROOT}`;
}

/** The collection that a root is of; `undefined` for other names. Names of collections have no dot. */
export function collectionOf(name: string): string | undefined {
  return /^qm\.([a-z][a-z0-9-]*)\.root$/.exec(name)?.[1];
}

/** What the names of a collection's parts begin with, of every root it has had. */
export function partPrefix(collection: string): string {
  return `${PREFIX}${collection}.`;
}

/** What the names of a root's parts begin with. */
export function rootPrefix(collection: string, rootId: string): string {
  return `${partPrefix(collection)}${rootId.replaceAll('-', '')}.`;
}

export function partName(collection: string, rootId: string, { tenant, namespace }: VectorScope): string {
  const prefix = rootPrefix(collection, rootId);
  const name = `${prefix}t${hex(tenant)}.n${hex(namespace)}`;
  if (name.length <= MAX_NAME) return name;
  return `${prefix}h${createHash('sha256')
    .update(JSON.stringify([tenant, namespace]))
    .digest('hex')}`;
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}
