/**
 * Compiles a filter's tree over the column `metadata`. A leaf may yield NULL, which a WHERE takes for false; every negation
 * is `IS NOT TRUE`, so that what lacks the field matches it.
 */
import type { FilterNode, LeafNode } from '../../filter/syntax.js';
import { metadataKey } from '../codec/filter.js';
import type { Parameters } from './parameters.js';

export function compileFilter(node: FilterNode, parameters: Parameters): string {
  if (node.op === 'not') return `(${compileFilter(node.node, parameters)} IS NOT TRUE)`;
  if (!('nodes' in node)) return compileLeaf(node, parameters);
  if (node.nodes.length === 0) return node.op === 'and' ? 'TRUE' : 'FALSE';
  const terms = node.nodes.map((child) => compileFilter(child, parameters));
  return `(${terms.join(node.op === 'and' ? ' AND ' : ' OR ')})`;
}

const COMPARISONS = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

function compileLeaf(node: LeafNode, parameters: Parameters): string {
  // Vector collections declare no text; the parser refuses the operator.
  if (node.op === 'text') return 'FALSE';
  const key = metadataKey(node.field);
  switch (node.op) {
    case 'eq':
      // An array holds no scalar here: '{"a":["x"]}' @> '{"a":"x"}' is false.
      return `metadata @> ${parameters.json({ [key]: node.value })}`;
    case 'in':
      return `metadata @> ANY(${parameters.jsonList(node.values.map((value) => ({ [key]: value })))})`;
    case 'contains':
      return `metadata @> ${parameters.json({ [key]: [node.value] })}`;
    case 'exists':
      return `metadata ? ${parameters.text(key)}`;
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      // jsonb orders across types, booleans above numbers, so the type is always asked for.
      const name = parameters.text(key);
      const comparison = COMPARISONS[node.op];
      if (typeof node.value === 'number')
        return `(jsonb_typeof(metadata->${name}) = 'number' AND metadata->${name} ${comparison} ${parameters.json(node.value)})`;
      const text = `(metadata->>${name}) COLLATE "C"`;
      return `(jsonb_typeof(metadata->${name}) = 'string' AND ${text} ${comparison} ${parameters.text(node.value)})`;
    }
    case 'startsWith':
    case 'icontains':
      // Not part of the language over metadata.
      return 'FALSE';
  }
}
