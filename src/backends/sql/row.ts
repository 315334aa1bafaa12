/** Rows to records. Columns are picked by name: a driver may add properties of its own. */
import type { Stored } from '../backend.js';
import type { Dialect, Row } from './dialect.js';

/** A record without its key, for a statement of one key. */
export const CONTENT_COLUMNS = 't.version, t.created_at, t.updated_at, t.expires_at, t.value';

export const RECORD_COLUMNS = `t.id, ${CONTENT_COLUMNS}`;

export function readRow(dialect: Dialect, row: Row, tenant: string, id: string): Stored {
  const record = {
    tenant,
    id,
    // pg gives bigint as text, the others as a number.
    version: Number(row['version']),
    createdAt: readTime(row['created_at']),
    updatedAt: readTime(row['updated_at']),
    value: dialect.readValue(row['value']),
  };
  const expiry = row['expires_at'];
  return dialect.isNever(expiry) ? record : { ...record, expiresAt: readTime(expiry) };
}

export function readTime(value: unknown): Date {
  return value instanceof Date ? value : new Date(value as string | number);
}
