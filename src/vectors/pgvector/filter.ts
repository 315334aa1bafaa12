/** A filter over flat metadata as SQL: every node in its own parentheses, every operand bound. */
import type { FieldReference, FilterNode, LeafNode } from '../../filter/syntax.js';
import type { SqlValue } from '../../pools/pool.js';

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
    case 'lte': {
      const leaf = fieldExpression(keyOf(node.field));
      if (typeof node.value === 'number')
        return `jsonb_typeof(${leaf}) = 'number' AND ${leaf} ${COMPARE[node.op]} ${parameters.json(node.value)}`;
      // CASE, because AND gives no order of evaluation; the C collation is the order of code points.
      const text = `CASE WHEN jsonb_typeof(${leaf}) = 'string' THEN metadata->>${literal(keyOf(node.field))} END`;
      return `(${text}) COLLATE "C" ${COMPARE[node.op]} ${parameters.add(node.value, 'text')}`;
    }
    case 'startsWith':
    case 'icontains':
    case 'text':
      throw new TypeError(`${node.op} is no operator of metadata`);
  }
}

function keyOf(field: FieldReference): string {
  return field.path.join('.');
}

/** The text of a declared field in a query, and of its index: they must be equal for the index to be used. */
export function fieldExpression(key: string): string {
  return `(metadata->${literal(key)})`;
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
