/** Filters over metadata: validated, folded, and refused where the provider cannot answer them. */
import { UnsupportedError, ValidationError } from '../../errors.js';
import { normalize, pushDown, type PushedNode } from '../../filter/normalize.js';
import { evaluate } from '../../filter/evaluate.js';
import {
  ALL,
  FILTER_LIMITS,
  NOTHING,
  parseFilter,
  type FieldReference,
  type FieldType,
  type FilterDomain,
  type FilterNode,
  type LeafNode,
} from '../../filter/syntax.js';
import { metadataKeyFault } from './metadata.js';
import type { CompiledFilter, FlatMetadata, VectorCapabilities, VectorSchema } from '../provider.js';

/** The key of flat metadata that a field means. */
export function metadataKey(field: FieldReference): string {
  return field.path.join('.');
}

/** What a filter means: the oracle, on flat metadata. */
export function matchesMetadata(tree: FilterNode, metadata: FlatMetadata): boolean {
  return evaluate(tree, {
    get(field) {
      const key = metadataKey(field);
      return Object.hasOwn(metadata, key) ? metadata[key] : undefined;
    },
    words: () => new Set(),
  });
}

/** What a filter folds to: a tree for the provider, or a constant that needs none. */
export type FoldedFilter = CompiledFilter | 'all' | 'nothing';

/**
 * A host's filter as providers get it.
 * @throws `INVALID_FILTER`; `UNSUPPORTED` for what the provider's `operators` exclude.
 */
export function compileMetadataFilter(
  filter: unknown,
  schema: VectorSchema,
  operators: VectorCapabilities['operators'],
): FoldedFilter {
  const tree = normalize(storedForm(parseFilter(filter, domainOf(schema)), schema));
  if (tree === ALL) return 'all';
  if (tree === NOTHING) return 'nothing';
  if (countLeaves(tree) > FILTER_LIMITS.leaves)
    throw new ValidationError(
      'INVALID_FILTER',
      `filter: a filter has at most ${FILTER_LIMITS.leaves} conditions; each fraction of an $in is one`,
    );
  const pushed = pushDown(tree);
  refuseUnsupported(pushed, operators);
  return { tree, pushed };
}

const domains = new WeakMap<VectorSchema, FilterDomain>();

function domainOf(schema: VectorSchema): FilterDomain {
  let domain = domains.get(schema);
  if (domain === undefined) {
    const scalars = Object.entries(schema.fields).filter(([, type]) => type !== 'string[]');
    domain = { declared: new Map(scalars as [string, FieldType][]), envelope: new Map(), values: 'metadata' };
    domains.set(schema, domain);
  }
  return domain;
}

/** Dates are milliseconds in metadata; a declared list equals no scalar and has no order. */
function storedForm(node: FilterNode, schema: VectorSchema): FilterNode {
  switch (node.op) {
    case 'and':
    case 'or':
      return { op: node.op, nodes: node.nodes.map((child) => storedForm(child, schema)) };
    case 'not':
      return { op: 'not', node: storedForm(node.node, schema) };
    case 'text':
      return node;
    default: {
      if (node.field.type === 'date') return dateLeaf(node);
      const key = metadataKey(node.field);
      // Providers keep things of their own under keys that no record can have.
      if (metadataKeyFault(key) !== undefined) return NOTHING;
      const isList = Object.hasOwn(schema.fields, key) && schema.fields[key] === 'string[]';
      return isList && node.op !== 'contains' && node.op !== 'exists' ? NOTHING : node;
    }
  }
}

function dateLeaf(node: Exclude<LeafNode, { op: 'text' }>): LeafNode {
  const field: FieldReference = { ...node.field, type: 'number' };
  switch (node.op) {
    case 'eq':
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return { ...node, field, value: Date.parse(String(node.value)) };
    case 'in':
      return { ...node, field, values: node.values.map((value) => Date.parse(String(value))) };
    default:
      return { ...node, field };
  }
}

function countLeaves(node: FilterNode): number {
  switch (node.op) {
    case 'and':
    case 'or':
      return node.nodes.reduce((sum, child) => sum + countLeaves(child), 0);
    case 'not':
      return countLeaves(node.node);
    case 'in':
      return 1 + node.values.filter((value) => typeof value === 'number' && !Number.isInteger(value)).length;
    default:
      return 1;
  }
}

function refuseUnsupported(node: PushedNode, operators: VectorCapabilities['operators']): void {
  if (node.op !== 'leaf') return node.nodes.forEach((child) => refuseUnsupported(child, operators));
  const { leaf, negated } = node;
  if (leaf.op !== 'gt' && leaf.op !== 'gte' && leaf.op !== 'lt' && leaf.op !== 'lte') return;
  const key = metadataKey(leaf.field);
  const refuse = (what: string): UnsupportedError =>
    new UnsupportedError(`filter.${key}.$${leaf.op}: the provider has no ${what}`, { details: { key } });
  if (typeof leaf.value === 'string' && !operators.stringRange) throw refuse('ranges over strings');
  if (!negated || operators.notRange === 'always') return;
  if (operators.notRange === 'never') throw refuse('negated ranges');
  if (leaf.field.type !== 'number') throw refuse('negated ranges over fields that are not declared as number or date');
}
