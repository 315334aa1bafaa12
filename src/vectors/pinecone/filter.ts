/**
 * Compiles a filter with its negations on the leaves. The service answers negations of what lacks the field in a way that
 * changed once, so each says itself what becomes of a missing field.
 */
import { UnsupportedError } from '../../errors.js';
import type { PushedNode } from '../../filter/normalize.js';
import type { LeafNode, RangeOperator } from '../../filter/syntax.js';
import { metadataKey } from '../codec/filter.js';
import { listKey } from './record.js';

export type PineconeFilter = { readonly [key: string]: unknown };

type Scalar = string | number | boolean;

/** A filter that matches every record: no record has a value there. */
export const EVERY: PineconeFilter = missing('qm.none');

const INVERSE = { gt: 'lte', gte: 'lt', lt: 'gte', lte: 'gt' } as const satisfies Record<RangeOperator, RangeOperator>;

export function compileFilter(node: PushedNode): PineconeFilter {
  if (node.op === 'leaf') return node.negated ? compileNegated(node.leaf) : compileLeaf(node.leaf);
  return { [`$${node.op}`]: node.nodes.map(compileFilter) };
}

function compileLeaf(leaf: LeafNode): PineconeFilter {
  if (leaf.op === 'text') throw unsupported(leaf.op);
  const key = metadataKey(leaf.field);
  switch (leaf.op) {
    case 'eq':
      return is(key, 'eq', leaf.value);
    case 'in': {
      const { booleans, others } = split(leaf.values);
      const terms = [
        ...booleans.map((value) => is(key, 'eq', value)),
        ...others.map((values) => is(key, 'in', values)),
      ];
      return either(terms);
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return is(key, leaf.op, leaf.value);
    case 'exists':
      return either([is(key, 'exists', true), is(listKey(key), 'exists', true)]);
    case 'contains':
      return is(listKey(key), 'in', [leaf.value]);
    case 'startsWith':
    case 'icontains':
      throw unsupported(leaf.op);
  }
}

function compileNegated(leaf: LeafNode): PineconeFilter {
  if (leaf.op === 'text') throw unsupported(leaf.op);
  const key = metadataKey(leaf.field);
  switch (leaf.op) {
    case 'eq':
      return either([missing(key), is(key, 'ne', leaf.value)]);
    case 'in': {
      const { booleans, others } = split(leaf.values);
      const terms = [
        ...booleans.map((value) => is(key, 'ne', value)),
        ...others.map((values) => is(key, 'nin', values)),
      ];
      return either([missing(key), terms.length === 1 ? terms[0]! : { $and: terms }]);
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      // Right for a field that holds numbers only, which is what the capabilities allow.
      return either([missing(key), is(key, INVERSE[leaf.op], leaf.value)]);
    case 'exists':
      return { $and: [missing(key), missing(listKey(key))] };
    case 'contains':
      // An empty list is kept as `true`.
      return either([missing(listKey(key)), is(listKey(key), 'eq', true), is(listKey(key), 'nin', [leaf.value])]);
    case 'startsWith':
    case 'icontains':
      throw unsupported(leaf.op);
  }
}

/** The language over metadata has neither; the parser refuses them. */
function unsupported(operator: string): UnsupportedError {
  return new UnsupportedError(`filter: $${operator} is no operator over the metadata of vectors`);
}

function is(key: string, operator: string, operand: unknown): PineconeFilter {
  return { [key]: { [`$${operator}`]: operand } };
}

function missing(key: string): PineconeFilter {
  return is(key, 'exists', false);
}

function either(terms: readonly PineconeFilter[]): PineconeFilter {
  return terms.length === 1 ? terms[0]! : { $or: terms };
}

/** A list of operands holds strings or numbers, no booleans, and not both at once. */
function split(values: readonly unknown[]): { booleans: Scalar[]; others: (readonly Scalar[])[] } {
  const of = (type: string): Scalar[] => (values as readonly Scalar[]).filter((value) => typeof value === type);
  return { booleans: of('boolean'), others: [of('string'), of('number')].filter((list) => list.length > 0) };
}
