/** The SQL of fields in SQLite: values are JSON text, times are milliseconds. */
import type { FieldType } from '../../../filter/syntax.js';
import { identifier, literal } from '../expressions.js';

/** SQLite has no schemas: the prefix keeps our tables apart from the host's. */
export function catalogueName(collection: string): string {
  return `quartermaster_${collection}`;
}

export function tableName(collection: string): string {
  return identifier(catalogueName(collection));
}

/** What `expires_at` is of a record that never expires: the last instant of a Date. */
export const NEVER = 8_640_000_000_000_000;

/** A path as a literal. Its segments have neither quotes nor backslashes, whose meaning differs between versions. */
export function jsonPath(path: readonly string[]): string {
  return literal(`$${path.map((segment) => `."${segment}"`).join('')}`);
}

/** By the JSON's own type, because `->>` makes numbers of booleans and text of arrays. */
export function typedAt(path: readonly string[], type: FieldType, prefix: string): string {
  const at = jsonPath(path);
  const column = `${prefix}value`;
  switch (type) {
    case 'number':
      // JSON integers of more than 53 bits would be compared as such, and are doubles everywhere else.
      return `(CASE WHEN json_type(${column},${at}) IN ('integer','real') THEN CAST(${column}->>${at} AS REAL) END)`;
    case 'boolean':
      return `(CASE json_type(${column},${at}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)`;
    case 'string':
    case 'date':
      return `(CASE WHEN json_type(${column},${at})='text' THEN ${column}->>${at} END)`;
  }
}

export function envelopeColumn(name: string, prefix: string): string {
  switch (name) {
    case 'tenant':
      return `${prefix}tenant`;
    case 'version':
      return `${prefix}version`;
    case 'createdAt':
      return `${prefix}created_at`;
    case 'updatedAt':
      return `${prefix}updated_at`;
    case 'expiresAt':
      return `NULLIF(${prefix}expires_at, ${NEVER})`;
    default:
      return `${prefix}id`;
  }
}

/** The least value of a field's type: `IS NOT NULL` would walk over all nulls first. */
export function leastOf(source: 'value' | 'envelope', type: FieldType): string {
  switch (type) {
    case 'number':
      return '-1.7976931348623157e308';
    case 'boolean':
      return '0';
    case 'string':
      return `''`;
    case 'date':
      return source === 'envelope' ? `-${NEVER}` : `''`;
  }
}
