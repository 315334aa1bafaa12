/** A filter over flat metadata as SQL: every node in its own parentheses, every operand bound. */
import type { FieldReference, FilterNode, LeafNode, RangeOperator } from '../../filter/syntax.js';
import type { SqlValue } from '../../pools/pool.js';
import type { VectorFieldType } from '../provider.js';

/** The parameters of one statement, numbered as they are bound. */
export class Parameters {
  readonly values: SqlValue[];

  constructor(...values: SqlValue[]) {
    this.values = values;
  }

  add(value: SqlValue, type: string): string {
    this.values.push(value);
    return `$${this.values.length}::${type}`;
  }

  json(value: unknown): string {
    return this.add(JSON.stringify(value), 'jsonb');
  }
}

/**
 * Two-valued wherever it is negated: a comparison with a missing field is NULL, and `NOT` would keep it NULL. AND and OR
 * stay bare, so that indexes serve them.
 */
export function compileFilter(node: FilterNode, parameters: Parameters): string {
  switch (node.op) {
    case 'and':
    case 'or':
      return `(${node.nodes.map((child) => compileFilter(child, parameters)).join(node.op === 'and' ? ' AND ' : ' OR ')})`;
    case 'not':
      return `(${compileFilter(node.node, parameters)} IS NOT TRUE)`;
    default:
      return `(${compileLeaf(node, parameters)})`;
  }
}

const COMPARE = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

function compileLeaf(node: LeafNode, parameters: Parameters): string {
  switch (node.op) {
    case 'eq':
      return `metadata @> ${parameters.json({ [keyOf(node.field)]: node.value })}`;
    case 'in': {
      const key = keyOf(node.field);
      const texts = node.values.map((value) => JSON.stringify({ [key]: value }));
      return `metadata @> ANY(${parameters.add(texts, 'jsonb[]')})`;
    }
    case 'contains':
      return `metadata @> ${parameters.json({ [keyOf(node.field)]: [node.value] })}`;
    case 'exists':
      return `metadata ? ${parameters.add(keyOf(node.field), 'text')}`;
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return typeof node.value === 'number'
        ? compileNumbers(node.op, keyOf(node.field), node.value, parameters)
        : compileTexts(node.op, node.field, node.value, parameters);
    case 'startsWith':
    case 'icontains':
    case 'text':
      throw new TypeError(`${node.op} is no operator of metadata`);
  }
}

/** jsonb orders values of different types too, so the type is asked for. */
function compileNumbers(op: RangeOperator, key: string, value: number, parameters: Parameters): string {
  const leaf = `(metadata->${parameters.add(key, 'text')})`;
  return `jsonb_typeof(${leaf}) = 'number' AND ${leaf} ${COMPARE[op]} ${parameters.json(value)}`;
}

function compileTexts(op: RangeOperator, field: FieldReference, value: string, parameters: Parameters): string {
  const key = parameters.add(keyOf(field), 'text');
  const operand = parameters.add(value, 'text');
  // The C collation is the order of code points.
  const range = `jsonb_typeof(metadata->${key}) = 'string' AND (metadata->>${key}) COLLATE "C" ${COMPARE[op]} ${operand}`;
  if (field.type !== 'string') return range;
  // Implied by the range, and what the index of the field can answer.
  const weak = op === 'gt' || op === 'gte' ? '>=' : '<=';
  return `${fieldPrefix(key)} ${weak} left(${operand}, ${PREFIX}) AND ${range}`;
}

function keyOf(field: FieldReference): string {
  return field.path.join('.');
}

/** Characters of a text that its index holds: an entry of a b-tree has at most 2,704 bytes. */
const PREFIX = 128;

function fieldPrefix(key: string): string {
  return `left(metadata->>${key}, ${PREFIX}) COLLATE "C"`;
}

/**
 * What a b-tree holds of a declared field; `undefined` where the index of all metadata serves every operator. Queries have
 * the same expressions with the key bound, which is the same to the planner.
 */
export function indexExpression(key: string, type: VectorFieldType): string | undefined {
  switch (type) {
    case 'number':
    case 'date':
      return `(metadata->${literal(key)})`;
    case 'string':
      return `(${fieldPrefix(literal(key))})`;
    case 'boolean':
    case 'string[]':
      return undefined;
  }
}

/** Read alike whatever `standard_conforming_strings` says. */
function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
