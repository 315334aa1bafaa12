/** What a filter means, for a provider that has no query language of its own: negations stand on the leaves. */
import type { FlatMetadata, LeafNode, PushedNode } from 'quartermaster';

export function matches(node: PushedNode, metadata: FlatMetadata): boolean {
  if (node.op === 'leaf') return matchesLeaf(node.leaf, metadata) !== node.negated;
  if (node.op === 'and') return node.nodes.every((child) => matches(child, metadata));
  return node.nodes.some((child) => matches(child, metadata));
}

function matchesLeaf(leaf: LeafNode, metadata: FlatMetadata): boolean {
  if (leaf.op === 'text') return false;
  const key = leaf.field.path.join('.');
  const value = Object.hasOwn(metadata, key) ? metadata[key] : undefined;
  if (leaf.op === 'exists') return value !== undefined;
  if (leaf.op === 'in') return leaf.values.some((operand) => operand === value);
  if (leaf.op === 'contains') return Array.isArray(value) && value.includes(leaf.value);
  if (leaf.op === 'eq') return value === leaf.value;
  // Ranges over strings are refused for this provider, and the other operators for metadata.
  if (typeof value !== 'number' || typeof leaf.value !== 'number') return false;
  if (leaf.op === 'gt') return value > leaf.value;
  if (leaf.op === 'gte') return value >= leaf.value;
  return leaf.op === 'lt' ? value < leaf.value : value <= leaf.value;
}

export function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
