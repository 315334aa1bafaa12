/** Rows to records. Columns are picked by name: a driver may add properties of its own. */
import type { Scope, Stored } from '../backend.js';
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

/** Rows of a statement over a scope: under `all` each has its tenant. */
export function readRows(dialect: Dialect, scope: Scope, rows: readonly Row[]): Stored[] {
  // Not `map`: a driver's array may be of another realm, and would make its result one too.
  const records: Stored[] = [];
  for (const row of rows) {
    const tenant = scope === 'all' ? (row['tenant'] as string) : scope.tenant;
    records.push(readRow(dialect, row, tenant, row['id'] as string));
  }
  return records;
}

export function readTime(value: unknown): Date {
  return value instanceof Date ? value : new Date(value as string | number);
}
