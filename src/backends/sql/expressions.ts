/**
 * The SQL of fields. One function makes the text for queries and for indexes: PostgreSQL uses an expression index only
 * where the query has the same expression.
 */
import { createHash } from 'node:crypto';
import { invalid } from '../../errors.js';
import type { FieldReference, FieldType } from '../../filter/syntax.js';
import { isNullable, type Direction } from '../../filter/cursor.js';

/** A text literal; `standard_conforming_strings` is on since PostgreSQL 9.1, so only quotes need care. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name of ours in quotes: `[a-z][a-z0-9_]*` by pattern, so there is nothing in it to escape. */
export function identifier(name: string): string {
  return `"${name}"`;
}

export const SCHEMA = 'quartermaster';

export function tableName(collection: string): string {
  return `${identifier(SCHEMA)}.${identifier(collection)}`;
}

/** The names of indexes are derived: a changed definition is another index, and no name exceeds PostgreSQL's 63 bytes. */
export function indexName(
  collection: string,
  kind: 'index' | 'unique' | 'words' | 'expiry',
  definition: string,
): string {
  const hash = createHash('sha256').update(definition).digest('hex').slice(0, 8);
  return `${collection}_${kind === 'unique' ? 'u' : kind === 'index' ? 'i' : kind.charAt(0)}_${hash}`;
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

/** The typed expression at a path. `prefix` is the table's alias with its dot, empty in an index. */
export function typedAt(path: readonly string[], type: FieldType, prefix: string): string {
  const column = `${prefix}value`;
  const parent = path.length === 1 ? column : jsonAt(path.slice(0, -1), column);
  return typedJson(jsonAt(path, column), type, `${parent}->>${literal(path.at(-1)!)}`);
}

/** A column of the envelope. "Never expires" is a missing value in filters and sorts. */
export function envelopeColumn(name: string, prefix: string): string {
  switch (name) {
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

/** The expression that a sort key or an index key stands for. */
export function keyExpression(field: FieldReference & { readonly type: FieldType }, prefix: string): string {
  return field.source === 'envelope' ? envelopeColumn(field.path[0]!, prefix) : typedAt(field.path, field.type, prefix);
}

/** Missing first ascending and last descending: the opposite of PostgreSQL's default. */
export function orderTerm(
  field: FieldReference & { readonly type: FieldType },
  direction: Direction,
  prefix: string,
): string {
  const expression = keyExpression(field, prefix);
  if (!isNullable(field)) return `${expression} ${direction === 'asc' ? 'ASC' : 'DESC'}`;
  return `${expression} ${direction === 'asc' ? 'ASC NULLS FIRST' : 'DESC NULLS LAST'}`;
}

const ENVELOPE_TYPES = new Map<string, FieldType>([
  ['id', 'string'],
  ['version', 'number'],
  ['createdAt', 'date'],
  ['updatedAt', 'date'],
  ['expiresAt', 'date'],
]);

/** The field an index names: the envelope's, or a declared one. */
export function indexedField(
  field: string,
  declared: ReadonlyMap<string, { readonly type: FieldType }>,
): FieldReference & { readonly type: FieldType } {
  const envelope = ENVELOPE_TYPES.get(field);
  if (envelope !== undefined) return { source: 'envelope', path: [field], type: envelope };
  const type = declared.get(field)?.type;
  if (type === undefined) throw invalid(`index key ${field}`, field, 'a declared field or one of the envelope');
  return { source: 'value', path: field.split('.'), type };
}
