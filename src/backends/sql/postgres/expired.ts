/**
 * What has expired and no sweep has met yet still holds its keys in unique indexes. A statement that may meet such a key
 * deletes it itself: within one statement what a part has deleted is out of the way of the parts after it.
 */
import type { RecordSchema, Write } from '../../backend.js';
import { valueAt } from '../../../filter/json.js';
import { touchesUnique } from '../../patch.js';
import { tableName } from './expressions.js';

/** A part for WITH, of the rows `t` of a tenant (every tenant's without one). It is done before what reads it. */
export function expiredPart(name: string, collection: RecordSchema, time: string, tenant: string | undefined): string {
  const terms = [`t.expires_at <= ${time}`, `t.expires_at < 'infinity'::timestamptz`];
  if (tenant !== undefined) terms.push(`t.tenant = ${tenant}`);
  return `${name} AS (DELETE FROM ${tableName(collection.name)} AS t WHERE ${terms.join(' AND ')} RETURNING 1)`;
}

/** One row, once the part is done. */
export function afterPart(name: string): string {
  return `(SELECT count(*) FROM ${name}) AS ${name}_done`;
}

/**
 * Which writes free keys: none; those that may meet a constraint of their declaration; all, once one was met, for it may be
 * of another process's declaration.
 */
export type Freeing = 'none' | 'declared' | 'all';

/** Whether a write may meet a unique constraint: it gives its record another key. */
export function mayMeet(write: Write, freeing: Freeing): boolean {
  if (freeing === 'none' || write.kind === 'delete') return false;
  return freeing === 'all' || hasKey(write);
}

/** Whether a write gives its record a key of a constraint that is declared. */
export function hasKey(write: Exclude<Write, { readonly kind: 'delete' }>): boolean {
  const { collection } = write;
  if (collection.unique.length === 0) return false;
  if (write.kind === 'patch') return write.orInsert !== undefined || touchesUnique(collection, write.changes);
  // What lacks one of its fields is outside the constraint.
  const has = (field: string): boolean => valueAt(write.value, field.split('.')) !== undefined;
  return collection.unique.some(({ fields }) => fields.every(has));
}
