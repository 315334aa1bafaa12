/**
 * The SQL of keys. One function makes the text for queries and for indexes: an expression index is used only where the
 * query has the same expression.
 */
import { createHash } from 'node:crypto';
import { invalid } from '../../errors.js';
import type { FieldType } from '../../filter/syntax.js';
import { isNullable, type Direction } from '../../filter/cursor.js';
import type { Dialect, TypedField } from './dialect.js';

/** A text literal; `standard_conforming_strings` is on since PostgreSQL 9.1, so only quotes need care. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name of ours in quotes: `[a-z][a-z0-9_]*` by pattern, so there is nothing in it to escape. */
export function identifier(name: string): string {
  return `"${name}"`;
}

/** The names of indexes are derived: a changed definition is another index, and no name exceeds PostgreSQL's 63 bytes. */
export function indexName(table: string, kind: 'index' | 'unique' | 'words' | 'expiry', definition: string): string {
  const hash = createHash('sha256').update(definition).digest('hex').slice(0, 8);
  return `${table}_${kind === 'unique' ? 'u' : kind === 'index' ? 'i' : kind.charAt(0)}_${hash}`;
}

/** The expression that a sort key or an index key stands for. */
export function keyExpression(dialect: Dialect, field: TypedField, prefix: string): string {
  if (field.source === 'envelope') return dialect.envelopeColumn(field.path[0]!, prefix);
  return prefix === 't.' ? typedRow(dialect, field.path, field.type) : dialect.typedAt(field.path, field.type, prefix);
}

const TYPED = new WeakMap<Dialect, WeakMap<readonly string[], Map<FieldType, string>>>();

/** The typed expression at a path of the row `t`, made once for a declared field: its path is one array for all queries. */
export function typedRow(dialect: Dialect, path: readonly string[], type: FieldType): string {
  let paths = TYPED.get(dialect);
  if (paths === undefined) TYPED.set(dialect, (paths = new WeakMap()));
  let texts = paths.get(path);
  if (texts === undefined) paths.set(path, (texts = new Map<FieldType, string>()));
  let text = texts.get(type);
  if (text === undefined) texts.set(type, (text = dialect.typedAt(path, type, 't.')));
  return text;
}

/** Missing first ascending and last descending. */
export function orderTerm(dialect: Dialect, field: TypedField, direction: Direction, prefix: string): string {
  const expression = keyExpression(dialect, field, prefix);
  const term = `${expression} ${direction === 'asc' ? 'ASC' : 'DESC'}`;
  return isNullable(field) ? `${term}${dialect.nulls[direction]}` : term;
}

const ENVELOPE_TYPES = new Map<string, FieldType>([
  ['id', 'string'],
  ['version', 'number'],
  ['createdAt', 'date'],
  ['updatedAt', 'date'],
  ['expiresAt', 'date'],
]);

/** The field an index names: the envelope's, or a declared one. */
export function indexedField(field: string, declared: ReadonlyMap<string, { readonly type: FieldType }>): TypedField {
  const envelope = ENVELOPE_TYPES.get(field);
  if (envelope !== undefined) return { source: 'envelope', path: [field], type: envelope };
  const type = declared.get(field)?.type;
  if (type === undefined) throw invalid(`index key ${field}`, field, 'a declared field or one of the envelope');
  return { source: 'value', path: field.split('.'), type };
}
