/** The SQL of fields in PostgreSQL. */
import type { FieldType } from '../../../filter/syntax.js';
import { identifier, literal } from '../expressions.js';

export const SCHEMA = 'quartermaster';

export function tableName(collection: string): string {
  return `${identifier(SCHEMA)}.${identifier(collection)}`;
}

/** `value->'a'->'b'`, by text keys: `#>` and subscripts would take the key `0` for an array's element. */
export function jsonAt(path: readonly string[], column: string): string {
  let text = column;
  for (const segment of path) text += `->${literal(segment)}`;
  return `(${text})`;
}

/** A JSON expression as a value of the type, NULL for every other. CASE, because AND has no order of evaluation. */
export function typedJson(json: string, type: FieldType, text: string): string {
  switch (type) {
    case 'number':
      return `(CASE WHEN jsonb_typeof(${json})='number' THEN ${json}::float8 END)`;
    case 'boolean':
      return `(CASE WHEN jsonb_typeof(${json})='boolean' THEN ${json}::boolean END)`;
    case 'string':
    case 'date':
      return `((CASE WHEN jsonb_typeof(${json})='string' THEN ${text} END) COLLATE "C")`;
  }
}

export function typedAt(path: readonly string[], type: FieldType, prefix: string): string {
  const column = `${prefix}value`;
  const parent = path.length === 1 ? column : jsonAt(path.slice(0, -1), column);
  return typedJson(jsonAt(path, column), type, `${parent}->>${literal(path.at(-1)!)}`);
}

export function envelopeColumn(name: string, prefix: string): string {
  switch (name) {
    case 'tenant':
      return `${prefix}tenant`;
    case 'version':
      return `(${prefix}version::float8)`;
    case 'createdAt':
      return `${prefix}created_at`;
    case 'updatedAt':
      return `${prefix}updated_at`;
    case 'expiresAt':
      return `NULLIF(${prefix}expires_at, 'infinity'::timestamptz)`;
    default:
      return `${prefix}id`;
  }
}
