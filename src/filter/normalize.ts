/** Rewrites of a validated tree that keep its meaning: constants folded, negation pushed to the leaves. */
import { ALL, NOTHING, type FilterNode, type LeafNode, type Scalar } from './syntax.js';

/**
 * Folds what is decided without looking at data: empty `$in`, an operand that is not of a declared field's type,
 * constants under `and`, `or` and `not`, groups of one. What matches all is `ALL`, what matches nothing is `NOTHING`.
 */
export function normalize(node: FilterNode): FilterNode {
  switch (node.op) {
    case 'and':
    case 'or': {
      const [neutral, absorbing] = node.op === 'and' ? [ALL, NOTHING] : [NOTHING, ALL];
      const nodes: FilterNode[] = [];
      for (const child of node.nodes) {
        const folded = normalize(child);
        if (folded === absorbing) return absorbing;
        if (folded === neutral) continue;
        if (folded.op === node.op) nodes.push(...folded.nodes);
        else nodes.push(folded);
      }
      if (nodes.length === 0) return neutral;
      return nodes.length === 1 ? nodes[0]! : { op: node.op, nodes };
    }
    case 'not': {
      const folded = normalize(node.node);
      if (folded === ALL) return NOTHING;
      if (folded === NOTHING) return ALL;
      return folded.op === 'not' ? folded.node : { op: 'not', node: folded };
    }
    default:
      return normalizeLeaf(node);
  }
}

function normalizeLeaf(node: LeafNode): FilterNode {
  if (node.op === 'text') return node.words.length === 0 ? NOTHING : node;
  const { type } = node.field;
  const fits = (value: Scalar): boolean =>
    type === undefined || value === null || typeof value === (type === 'date' ? 'string' : type);
  switch (node.op) {
    case 'eq':
      return fits(node.value) ? node : NOTHING;
    case 'in': {
      const values = [...new Set(node.values.filter(fits))];
      if (values.length === 0) return NOTHING;
      // Databases read what is equal in the order of an index, and sort what is one of a list, be it of one.
      return values.length === 1 ? { op: 'eq', field: node.field, value: values[0]! } : { ...node, values };
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return fits(node.value) ? node : NOTHING;
    case 'contains':
      // A declared field never holds an array.
      return type === undefined ? node : NOTHING;
    case 'startsWith':
    case 'icontains':
      return type === undefined || type === 'string' ? node : NOTHING;
    case 'exists':
      return node;
  }
}

/** A tree whose only negations are on leaves, for services that have no general `not`. */
export type PushedNode =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly PushedNode[] }
  | { readonly op: 'leaf'; readonly negated: boolean; readonly leaf: LeafNode };

/** De Morgan, on a normalised tree. */
export function pushDown(node: FilterNode, negated = false): PushedNode {
  switch (node.op) {
    case 'and':
    case 'or': {
      const op = negated === (node.op === 'and') ? 'or' : 'and';
      return { op, nodes: node.nodes.map((child) => pushDown(child, negated)) };
    }
    case 'not':
      return pushDown(node.node, !negated);
    default:
      return { op: 'leaf', negated, leaf: node };
  }
}
