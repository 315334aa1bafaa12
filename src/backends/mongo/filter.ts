/**
 * Compiles a filter's tree. MongoDB looks into arrays on its own: guards turn that off on undeclared paths, and leave an
 * index usable. A declared path holds no array, because writes refuse them.
 */
import type { Document } from '../../pools/mongo/operation-use.js';
import { foldAscii } from '../../filter/evaluate.js';
import { successor } from '../../filter/prefix.js';
import type { FilterNode, LeafNode, Scalar } from '../../filter/syntax.js';
import { envelopePath, valuePath } from './keys.js';

export const ALL: Document = {};
export const NOTHING: Document = { _id: { $in: [] } };

export function compileFilter(node: FilterNode): Document {
  if ('node' in node) return { $nor: [compileFilter(node.node)] };
  if (!('nodes' in node)) return compileLeaf(node);
  if (node.nodes.length === 0) return node.op === 'and' ? ALL : NOTHING;
  return { [node.op === 'and' ? '$and' : '$or']: node.nodes.map(compileFilter) };
}

type FieldLeaf = Exclude<LeafNode, { op: 'text' }>;

function compileLeaf(node: LeafNode): Document {
  if (node.op === 'text') return node.words.length === 0 ? NOTHING : { w: { $all: node.words } };
  return node.field.source === 'envelope' ? compileEnvelope(node) : compileValue(node);
}

/** Times are dates in the document, and ISO text in a filter. */
function compileEnvelope(node: FieldLeaf): Document {
  const name = node.field.path[0]!;
  const path = envelopePath(name);
  const { type } = node.field;
  const operand = (value: Scalar): Scalar | Date =>
    type === 'date' && typeof value === 'string' ? new Date(value) : value;
  switch (node.op) {
    case 'exists':
      return name === 'expiresAt' ? { [path]: { $exists: true } } : ALL;
    case 'eq':
      // No part of the envelope is ever null: an absent `expiresAt` is missing.
      return node.value === null ? NOTHING : { [path]: { $eq: operand(node.value) } };
    case 'in': {
      const values = node.values.filter((value) => value !== null).map(operand);
      return values.length === 0 ? NOTHING : { [path]: { $in: values } };
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return { [path]: { [`$${node.op}`]: operand(node.value) } };
    case 'startsWith':
      return type === 'string' ? { [path]: startsWith(node.value) } : NOTHING;
    case 'icontains':
      return type === 'string' ? containsFolded(path, node.value) : NOTHING;
    case 'contains':
      return NOTHING;
  }
}

function compileValue(node: FieldLeaf): Document {
  const { path: segments, type } = node.field;
  const path = valuePath(segments);
  const above = type === undefined ? prefixGuards(segments) : [];
  const guards = type === undefined ? [...above, guard(path)] : [];
  switch (node.op) {
    case 'exists':
      return all([{ [path]: { $exists: true } }, ...above]);
    case 'eq':
      return all([equals(path, node.value), ...guards]);
    case 'in': {
      const values = node.values.filter((value) => value !== null);
      const terms = values.length === 0 ? [] : [{ [path]: { $in: values } }];
      if (values.length < node.values.length) terms.push(equals(path, null));
      if (terms.length === 0) return NOTHING;
      return all([terms.length === 1 ? terms[0]! : { $or: terms }, ...guards]);
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return all([{ [path]: { [`$${node.op}`]: node.value } }, ...guards]);
    case 'contains':
      if (type !== undefined) return NOTHING;
      return all([equals(path, node.value), { [path]: { $type: 'array' } }, ...above]);
    case 'startsWith':
      if (type !== undefined && type !== 'string') return NOTHING;
      return all([{ [path]: startsWith(node.value) }, ...guards]);
    case 'icontains':
      if (type !== undefined && type !== 'string') return NOTHING;
      return all([containsFolded(path, node.value), ...guards]);
  }
}

export function all(terms: readonly Document[]): Document {
  return terms.length === 1 ? terms[0]! : { $and: terms };
}

/** `null` alone would match what is missing, too. */
function equals(path: string, value: Scalar): Document {
  return { [path]: value === null ? { $type: 'null' } : { $eq: value } };
}

function guard(path: string): Document {
  return { [path]: { $not: { $type: 'array' } } };
}

/** No array on the way. */
export function prefixGuards(segments: readonly string[]): Document[] {
  return segments.slice(1).map((_, n) => guard(valuePath(segments.slice(0, n + 1))));
}

/** As a range of strings, which are ordered by code point: exact, of any length, and served by an index. */
function startsWith(text: string): Document {
  const next = successor(text);
  return next === undefined ? { $gte: text } : { $gte: text, $lt: next };
}

/** Only an expression folds ASCII letters and no others. */
function containsFolded(path: string, text: string): Document {
  const string = { $cond: [{ $eq: [{ $type: `$${path}` }, 'string'] }, `$${path}`, ''] };
  const found = { $indexOfBytes: [{ $toLower: string }, { $literal: foldAscii(text) }] };
  return all([{ [path]: { $type: 'string' } }, { $expr: { $gte: [found, 0] } }]);
}
