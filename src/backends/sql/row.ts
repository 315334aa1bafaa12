/** Rows to records. Columns are picked by name: a driver may add properties of its own. */
import type { JsonObject, Stored } from '../backend.js';

export type Row = Readonly<Record<string, unknown>>;

/**
 * Times are read as seconds: drivers make their own Dates of a timestamp's text, and mistake years before 100, before our
 * era and after 9999. "Never" is infinite.
 */
const TIMES = ['created_at', 'updated_at', 'expires_at'].map((name) => `${timeColumn(name)} AS ${name}`).join(', ');

export function timeColumn(name: string): string {
  return `date_part('epoch', t.${name})`;
}

/** A record without its key, for a statement of one key. */
export const CONTENT_COLUMNS = `t.version, ${TIMES}, t.value`;

export const RECORD_COLUMNS = `t.id, ${CONTENT_COLUMNS}`;

/** What a write returns that knows its value. */
export const WRITTEN_COLUMNS = `t.version, ${timeColumn('created_at')} AS created_at`;

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
  const expiry = Number(row['expires_at']);
  return expiry === Infinity ? record : { ...record, expiresAt: fromSeconds(expiry) };
}

export function readTime(value: unknown): Date {
  return fromSeconds(Number(value));
}

function fromSeconds(seconds: number): Date {
  return new Date(Math.round(seconds * 1_000));
}
