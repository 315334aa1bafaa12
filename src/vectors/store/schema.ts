/** What a host declares of a vector collection, checked, with every default filled in; and the filters over it. */
import { invalid, UnsupportedError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { normalize, pushDown, type PushedNode } from '../../filter/normalize.js';
import {
  ALL,
  NOTHING,
  parseFilter,
  pathFault,
  type FieldReference,
  type FieldType,
  type FilterDomain,
  type FilterNode,
  type LeafNode,
  type Scalar,
} from '../../filter/syntax.js';
import type {
  CompiledFilter,
  Metric,
  VectorCapabilities,
  VectorFieldType,
  VectorIndex,
  VectorSchema,
} from '../provider.js';

const NAME = /^[a-z][a-z0-9-]{0,44}$/;
const METRICS: readonly Metric[] = ['cosine', 'euclidean', 'dot'];
const TYPES: readonly VectorFieldType[] = ['string', 'number', 'boolean', 'date', 'string[]'];
const KEYS = ['name', 'dimension', 'metric', 'fields', 'index'];

/** @throws `VALIDATION` for a name that does not fit every provider. */
export function checkVectorCollectionName(name: unknown): string {
  if (typeof name !== 'string' || !NAME.test(name) || name.endsWith('-'))
    throw invalid('name', name, 'a name of the form [a-z][a-z0-9-]{0,44} that does not end with a hyphen');
  return name;
}

/** @throws `VALIDATION` for a malformed declaration, `UNSUPPORTED` for what the provider cannot keep. */
export function resolveVectorSchema(spec: unknown, capabilities: VectorCapabilities): VectorSchema {
  if (!isPlainObject(spec)) throw invalid('collection', spec, 'an object with name and dimension');
  for (const key of Object.keys(spec))
    if (!KEYS.includes(key)) throw invalid(`collection.${key}`, spec[key], `one of ${KEYS.join(', ')}`);
  const { dimension, metric = 'cosine', fields = {}, index = { kind: 'hnsw' } } = spec;
  const name = checkVectorCollectionName(spec['name']);
  if (!Number.isSafeInteger(dimension) || (dimension as number) < 1)
    throw invalid('dimension', dimension, 'a whole number above 0');
  if ((dimension as number) > capabilities.maxDimension)
    throw new UnsupportedError(`dimension: at most ${capabilities.maxDimension} here, not ${String(dimension)}`);
  if (!METRICS.includes(metric as Metric)) throw invalid('metric', metric, `one of ${METRICS.join(', ')}`);
  if (!capabilities.metrics.includes(metric as Metric))
    throw new UnsupportedError(`metric: ${String(metric)} is not offered here`);
  if (!isPlainObject(fields)) throw invalid('fields', fields, 'an object of paths and types');
  for (const [path, type] of Object.entries(fields)) {
    const fault = pathFault(path);
    if (fault !== undefined) throw invalid(`fields.${path}`, path, `a path that can be named (it ${fault})`);
    if (!TYPES.includes(type as VectorFieldType)) throw invalid(`fields.${path}`, type, `one of ${TYPES.join(', ')}`);
  }
  return {
    name,
    dimension: dimension as number,
    metric: metric as Metric,
    fields: { ...(fields as Record<string, VectorFieldType>) },
    index: resolveIndex(index),
  };
}

const INDEX_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  hnsw: ['m', 'efConstruction', 'quantize'],
  ivfflat: ['lists', 'probes'],
  none: [],
};

function resolveIndex(index: unknown): VectorIndex {
  const kind = isPlainObject(index) ? index['kind'] : undefined;
  const options = typeof kind === 'string' && Object.hasOwn(INDEX_OPTIONS, kind) ? INDEX_OPTIONS[kind] : undefined;
  if (!isPlainObject(index) || options === undefined)
    throw invalid('index', index, "an object of kind 'hnsw', 'ivfflat' or 'none'");
  for (const [key, value] of Object.entries(index)) {
    if (key === 'kind') continue;
    if (!options.includes(key))
      throw invalid(`index.${key}`, value, options.length === 0 ? 'no options' : `one of ${options.join(', ')}`);
    if (key === 'quantize') {
      if (!['auto', 'half', 'bit'].includes(value as string))
        throw invalid('index.quantize', value, "'auto', 'half' or 'bit'");
    } else if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > 32_768)
      throw invalid(`index.${key}`, value, 'a whole number from 1 to 32768');
  }
  return { ...index } as unknown as VectorIndex;
}

/** A host's filter, folded: `all` and `nothing` are decided without I/O. @throws `INVALID_FILTER`, `UNSUPPORTED` */
export function compileVectorFilter(
  filter: unknown,
  schema: VectorSchema,
  { operators }: VectorCapabilities,
): 'all' | 'nothing' | CompiledFilter {
  const tree = normalize(datesAsNumbers(parseFilter(filter, metadataDomain(schema)), schema));
  if (tree === ALL) return 'all';
  if (tree === NOTHING) return 'nothing';
  const pushed = pushDown(tree);
  checkOperators(pushed, schema, operators);
  return { tree, pushed };
}

function metadataDomain(schema: VectorSchema): FilterDomain {
  const declared = new Map<string, FieldType>();
  for (const [path, type] of Object.entries(schema.fields)) if (type !== 'string[]') declared.set(path, type);
  return { declared, envelope: new Map(), values: 'metadata' };
}

/** Dates are milliseconds in metadata: the types that services have do not include a date. */
function datesAsNumbers(node: FilterNode, schema: VectorSchema): FilterNode {
  switch (node.op) {
    case 'and':
    case 'or':
      return { ...node, nodes: node.nodes.map((child) => datesAsNumbers(child, schema)) };
    case 'not':
      return { ...node, node: datesAsNumbers(node.node, schema) };
    case 'text':
      return node;
    case 'in':
      return isDated(node) ? { ...node, field: asNumber(node), values: node.values.map(milliseconds) } : node;
    case 'eq':
      return isDated(node) ? { ...node, field: asNumber(node), value: milliseconds(node.value) } : node;
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return isDated(node) ? { ...node, field: asNumber(node), value: milliseconds(node.value) } : node;
    case 'exists':
    case 'contains':
    case 'startsWith':
    case 'icontains':
      return isDated(node) ? { ...node, field: asNumber(node) } : node;
  }
}

type FieldNode = Exclude<LeafNode, { op: 'text' }>;

function isDated({ field }: FieldNode): boolean {
  return field.type === 'date';
}

function asNumber({ field }: FieldNode): FieldReference {
  return { ...field, type: 'number' };
}

function milliseconds(text: Scalar): number {
  return Date.parse(text as string);
}

/** What a provider refuses depends on the operand's type and on negation. */
function checkOperators(node: PushedNode, schema: VectorSchema, operators: VectorCapabilities['operators']): void {
  if (node.op !== 'leaf') {
    for (const child of node.nodes) checkOperators(child, schema, operators);
    return;
  }
  const { leaf, negated } = node;
  if (leaf.op !== 'gt' && leaf.op !== 'gte' && leaf.op !== 'lt' && leaf.op !== 'lte') return;
  const path = leaf.field.path.join('.');
  if (typeof leaf.value === 'string' && !operators.stringRange)
    throw new UnsupportedError(`filter.${path}: ranges over strings are not offered here`, { details: { key: path } });
  const declared = leaf.field.type === 'number';
  if (negated && (operators.notRange === 'never' || (operators.notRange === 'declared' && !declared)))
    throw new UnsupportedError(`filter.${path}: the negation of a range is not offered here`, {
      details: { key: path },
    });
}
