/** Rows to records. Columns are picked by name: a driver may add properties of its own. */
import type { JsonObject, Stored } from '../backend.js';

export type Row = Readonly<Record<string, unknown>>;

/** The columns of a record, in the order of the table. */
export const RECORD_COLUMNS = 't.id, t.version, t.created_at, t.updated_at, t.expires_at, t.value';

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
  const expiresAt = readExpiry(row['expires_at']);
  return expiresAt === undefined ? record : { ...record, expiresAt };
}

export function readTime(value: unknown): Date {
  return value instanceof Date ? value : new Date(value as string | number);
}

/** `infinity`, which is "never", reaches us as the number, the word or an invalid Date, by driver. */
function readExpiry(value: unknown): Date | undefined {
  if (value === Infinity || value === 'infinity') return undefined;
  const time = readTime(value);
  return Number.isNaN(time.getTime()) ? undefined : time;
}
