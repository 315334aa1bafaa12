/**
 * Compiles a filter's tree. A leaf may yield NULL, which a WHERE takes for false; every negation is `IS NOT TRUE`, so that
 * what lacks the field matches it. Rows have the alias `t`.
 */
import type { FilterNode, LeafNode, Scalar } from '../../filter/syntax.js';
import { foldAscii } from '../../filter/evaluate.js';
import { envelopeColumn, jsonAt, typedAt } from './expressions.js';
import { bindType, bindValue, type Parameters } from './parameters.js';

const FALSE = 'FALSE';

export function compileFilter(node: FilterNode, parameters: Parameters): string {
  if ('node' in node) return compileNot(node.node, parameters);
  if (!('nodes' in node)) return compileLeaf(node, parameters);
  if (node.nodes.length === 0) return node.op === 'and' ? 'TRUE' : FALSE;
  const terms = node.nodes.map((child) => compileFilter(child, parameters));
  return `(${terms.join(node.op === 'and' ? ' AND ' : ' OR ')})`;
}

function compileNot(node: FilterNode, parameters: Parameters): string {
  if (node.op === 'exists' && node.field.source === 'value' && node.field.type !== undefined) {
    const { path, type } = node.field;
    // The first term is what an index of the field can answer.
    return `(${typedAt(path, type, 't.')} IS NULL AND ${jsonAt(path, 't.value')} IS NULL)`;
  }
  return `(${compileFilter(node, parameters)} IS NOT TRUE)`;
}

function compileLeaf(node: LeafNode, parameters: Parameters): string {
  if (node.op === 'text') return `t.words @> ${parameters.list(node.words, 'text')}`;
  return node.field.source === 'envelope' ? compileEnvelope(node, parameters) : compileValue(node, parameters);
}

type FieldLeaf = Exclude<LeafNode, { op: 'text' }>;

const COMPARISONS = new Map([
  ['gt', '>'],
  ['gte', '>='],
  ['lt', '<'],
  ['lte', '<='],
]);

function compileEnvelope(node: FieldLeaf, parameters: Parameters): string {
  const name = node.field.path[0]!;
  const column = envelopeColumn(name, 't.');
  const fieldType = node.field.type ?? 'string';
  const type = bindType('envelope', fieldType);
  switch (node.op) {
    case 'exists':
      return name === 'expiresAt' ? `${column} IS NOT NULL` : 'TRUE';
    case 'eq':
      // No part of the envelope is ever null: an absent `expiresAt` is missing.
      return node.value === null ? FALSE : `${column} = ${parameters.add(bindValue(node.value, type), type)}`;
    case 'in': {
      const values = node.values.filter((value) => value !== null).map((value) => bindValue(value, type));
      return values.length === 0 ? FALSE : `${column} = ANY(${parameters.list(values, type)})`;
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return `${column} ${COMPARISONS.get(node.op)!} ${parameters.add(bindValue(node.value, type), type)}`;
    case 'startsWith':
    case 'icontains':
      return fieldType === 'string' ? compileText(node.op, column, node.value, parameters) : FALSE;
    case 'contains':
      return FALSE;
  }
}

function compileValue(node: FieldLeaf, parameters: Parameters): string {
  const { path, type } = node.field;
  const json = jsonAt(path, 't.value');
  switch (node.op) {
    case 'exists':
      return `${json} IS NOT NULL`;
    case 'eq':
      if (node.value === null) return compileNull(node.field, json);
      if (type === undefined) return `${json} = ${parameters.json(node.value)}`;
      return `${typedAt(path, type, 't.')} = ${parameters.add(node.value, bindType('value', type))}`;
    case 'in':
      return compileIn(node, json, parameters);
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      const operand = type ?? (typeof node.value === 'number' ? 'number' : 'string');
      const bound = parameters.add(node.value, bindType('value', operand));
      return `${typedAt(path, operand, 't.')} ${COMPARISONS.get(node.op)!} ${bound}`;
    }
    case 'contains':
      return type === undefined ? `${json} @> ${parameters.json([node.value])}` : FALSE;
    case 'startsWith':
    case 'icontains':
      if (type !== undefined && type !== 'string') return FALSE;
      return compileText(node.op, typedAt(path, 'string', 't.'), node.value, parameters);
  }
}

function compileNull(field: FieldLeaf['field'], json: string): string {
  const isNull = `${json} = 'null'::jsonb`;
  return field.type === undefined ? isNull : `(${typedAt(field.path, field.type, 't.')} IS NULL AND ${isNull})`;
}

function compileIn(node: FieldLeaf & { op: 'in' }, json: string, parameters: Parameters): string {
  const { path, type } = node.field;
  if (type === undefined) return `${json} = ANY(${parameters.jsonList(node.values)})`;
  const values = node.values.filter((value): value is Exclude<Scalar, null> => value !== null);
  const terms: string[] = [];
  if (values.length > 0)
    terms.push(`${typedAt(path, type, 't.')} = ANY(${parameters.list(values, bindType('value', type))})`);
  if (values.length < node.values.length) terms.push(compileNull(node.field, json));
  return terms.length === 0 ? FALSE : `(${terms.join(' OR ')})`;
}

function compileText(op: 'startsWith' | 'icontains', text: string, value: string, parameters: Parameters): string {
  if (op === 'startsWith') return `starts_with(${text}, ${parameters.add(value, 'text')})`;
  // The expression has the C collation, whose `lower` folds ASCII letters only.
  return `strpos(lower(${text}), ${parameters.add(foldAscii(value), 'text')}) > 0`;
}
