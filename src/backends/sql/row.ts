/** Rows to records. Columns are picked by name: a driver may add properties of its own. */
import type { JsonObject, Stored } from '../backend.js';

export type Row = Readonly<Record<string, unknown>>;

/** A record without its key, for a statement of one key. */
export const CONTENT_COLUMNS = 't.version, t.created_at, t.updated_at, t.expires_at, t.value';

export const RECORD_COLUMNS = `t.id, ${CONTENT_COLUMNS}`;

/** What a write returns that knows its value. */
export const WRITTEN_COLUMNS = 't.version, t.created_at';

export function readRow(row: Row, tenant: string, id: string): Stored {
  const record = {
    tenant,
    id,
    // pg gives bigint as text, PGlite as a number.
    version: Number(row['version']),
    createdAt: readTime(row['created_at']),
    updatedAt: readTime(row['updated_at']),
    value: row['value'] as JsonObject,
  };
  const expiry = row['expires_at'];
  // The number is how drivers give `infinity`, which is "never".
  return expiry === Infinity ? record : { ...record, expiresAt: readTime(expiry) };
}

export function readTime(value: unknown): Date {
  return value instanceof Date ? value : new Date(value as string | number);
}
