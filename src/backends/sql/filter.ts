/**
 * Compiles a filter's tree. A leaf may yield NULL, which a WHERE takes for false; every negation is `IS NOT TRUE`, so that
 * what lacks the field matches it. Rows have the alias `t`.
 */
import type { FieldReference, FieldType, FilterNode, LeafNode } from '../../filter/syntax.js';
import { foldAscii } from '../../filter/evaluate.js';
import { successor } from '../../filter/prefix.js';
import { typedRow } from './expressions.js';
import type { Dialect, Operand, Parameters, TypedField } from './dialect.js';

const FALSE = 'FALSE';

export function compileFilter(dialect: Dialect, node: FilterNode, parameters: Parameters): string {
  if ('node' in node) return compileNot(dialect, node.node, parameters);
  if (!('nodes' in node)) return compileLeaf(dialect, node, parameters);
  if (node.nodes.length === 0) return node.op === 'and' ? 'TRUE' : FALSE;
  const terms = node.nodes.map((child) => compileFilter(dialect, child, parameters));
  return `(${terms.join(node.op === 'and' ? ' AND ' : ' OR ')})`;
}

function compileNot(dialect: Dialect, node: FilterNode, parameters: Parameters): string {
  if (node.op === 'exists' && node.field.source === 'value') {
    const { path, type } = node.field;
    const isMissing = unestimated(`${dialect.presence(path)} IS NULL`);
    // The first term is what an index of the field can answer.
    return type === undefined ? isMissing : `(${typedRow(dialect, path, type)} IS NULL AND ${isMissing})`;
  }
  return `(${compileFilter(dialect, node, parameters)} IS NOT TRUE)`;
}

/**
 * A condition that most rows meet which meet the one beside it. PostgreSQL takes an `IS NULL` for one in two hundred, and then
 * reads all that it believes to be few, and sorts them; of this it expects half.
 */
function unestimated(condition: string): string {
  return `CASE WHEN ${condition} THEN TRUE ELSE FALSE END`;
}

type FieldLeaf = Exclude<LeafNode, { op: 'text' }>;

function compileLeaf(dialect: Dialect, node: LeafNode, parameters: Parameters): string {
  if (node.op === 'text') return dialect.hasWords(node.words, parameters);
  return node.field.source === 'envelope'
    ? compileEnvelope(dialect, node, parameters)
    : compileValue(dialect, node, parameters);
}

const COMPARISONS = new Map([
  ['gt', '>'],
  ['gte', '>='],
  ['lt', '<'],
  ['lte', '<='],
]);

function compileEnvelope(dialect: Dialect, node: FieldLeaf, parameters: Parameters): string {
  const name = node.field.path[0]!;
  const column = dialect.envelopeColumn(name, 't.');
  const type = node.field.type ?? 'string';
  switch (node.op) {
    case 'exists':
      return name === 'expiresAt' ? `${column} IS NOT NULL` : 'TRUE';
    case 'eq':
      // No part of the envelope is ever null: an absent `expiresAt` is missing.
      return node.value === null ? FALSE : `${column} = ${parameters.operand(node.value, 'envelope', type)}`;
    case 'in': {
      const values = node.values.filter((value) => value !== null);
      return values.length === 0 ? FALSE : dialect.oneOf(column, values, typed(node.field, type), parameters);
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return `${column} ${COMPARISONS.get(node.op)!} ${parameters.operand(node.value, 'envelope', type)}`;
    case 'startsWith':
    case 'icontains':
      return type === 'string' ? compileText(dialect, node.op, column, node.value, parameters) : FALSE;
    case 'contains':
      return FALSE;
  }
}

function compileValue(dialect: Dialect, node: FieldLeaf, parameters: Parameters): string {
  const { path, type } = node.field;
  switch (node.op) {
    case 'exists':
      return `${dialect.presence(path)} IS NOT NULL`;
    case 'eq':
      if (node.value === null) return compileNull(dialect, node.field);
      if (type === undefined) return dialect.untypedEqual(path, node.value, parameters);
      return `${typedRow(dialect, path, type)} = ${parameters.operand(node.value, 'value', type)}`;
    case 'in':
      return type === undefined
        ? dialect.untypedIn(path, node.values, parameters)
        : compileIn(dialect, node, type, parameters);
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      const operand = type ?? (typeof node.value === 'number' ? 'number' : 'string');
      const bound = parameters.operand(node.value, 'value', operand);
      return `${typedRow(dialect, path, operand)} ${COMPARISONS.get(node.op)!} ${bound}`;
    }
    case 'contains':
      return type === undefined ? dialect.contains(path, node.value, parameters) : FALSE;
    case 'startsWith':
    case 'icontains':
      if (type !== undefined && type !== 'string') return FALSE;
      return compileText(dialect, node.op, typedRow(dialect, path, 'string'), node.value, parameters);
  }
}

export function compileNull(dialect: Dialect, { path, type }: FieldReference): string {
  const isNull = `${dialect.presence(path)} = ${dialect.jsonNull}`;
  return type === undefined ? isNull : `(${typedRow(dialect, path, type)} IS NULL AND ${unestimated(isNull)})`;
}

function compileIn(dialect: Dialect, node: FieldLeaf & { op: 'in' }, type: FieldType, parameters: Parameters): string {
  const { field } = node;
  const values = node.values.filter((value): value is Operand => value !== null);
  const terms: string[] = [];
  if (values.length > 0)
    terms.push(dialect.oneOf(typedRow(dialect, field.path, type), values, typed(field, type), parameters));
  if (values.length < node.values.length) terms.push(compileNull(dialect, field));
  return terms.length === 0 ? FALSE : `(${terms.join(' OR ')})`;
}

function compileText(
  dialect: Dialect,
  op: 'startsWith' | 'icontains',
  text: string,
  value: string,
  parameters: Parameters,
): string {
  if (op === 'icontains') return dialect.icontains(text, foldAscii(value), parameters);
  // As a range, which an index answers whatever the plan, and not as a function. It is exact: the expressions are compared by
  // the bytes of UTF-8, and all stored text is well-formed.
  const from = `${text} >= ${parameters.text(value)}`;
  const next = successor(value);
  return next === undefined ? from : `(${from} AND ${text} < ${parameters.text(next)})`;
}

function typed(field: FieldReference, type: FieldType): TypedField {
  return { ...field, type };
}
