/** A collection's specification: validated, every default filled in, comparable. */
import { ConflictError, invalid, UnsupportedError, ValidationError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { pathFault } from '../../filter/fields.js';
import type {
  Metric,
  VectorCapabilities,
  VectorCollectionSpec,
  VectorFieldType,
  VectorIndex,
  VectorSchema,
} from '../provider.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';
import { metadataKeyFault } from './metadata.js';
import { checkCollectionName, checkKeys, checkWhole } from './values.js';

export const METRICS: readonly Metric[] = ['cosine', 'euclidean', 'dot'];
/** What an index is that is not declared. */
export const DEFAULT_INDEX = { kind: 'hnsw', m: 16, efConstruction: 64, quantize: 'auto' } as const;
const FIELD_TYPES: readonly VectorFieldType[] = ['string', 'number', 'boolean', 'date', 'string[]'];

/**
 * Validates a host's specification.
 * @throws `VALIDATION` naming the key; `UNSUPPORTED` for a metric or a dimension that the provider does not have.
 */
export function resolveSchema(spec: VectorCollectionSpec, capabilities: VectorCapabilities): VectorSchema {
  const {
    name,
    dimension,
    sparse = false,
    metric = sparse === true ? 'dot' : 'cosine',
    fields,
    index,
    text,
  } = checkKeys(spec, 'collection', ['name', 'dimension', 'metric', 'sparse', 'fields', 'index', 'text']);
  if (typeof sparse !== 'boolean') throw invalid('sparse', sparse, 'true or false');
  const schema: VectorSchema = {
    name: checkCollectionName(name, 'name'),
    dimension: checkWhole(dimension, 'dimension', sparse ? 0 : 1, LIMITS.dimension),
    metric: checkOneOf(metric, 'metric', METRICS),
    ...(sparse ? { sparse } : {}),
    fields: resolveFields(fields),
    index: resolveIndex(index),
    ...(text === undefined ? {} : { text: resolveText(text) }),
  };
  if (schema.sparse && schema.metric !== 'dot')
    throw invalid('metric', metric, "'dot', which is the metric of sparse vectors");
  if (schema.sparse && !capabilities.sparse) throw new UnsupportedError('sparse: the provider has no sparse vectors');
  if (schema.text !== undefined && !capabilities.text)
    throw new UnsupportedError(
      'text: the provider keeps texts and does not search them (capabilities.text tells): declare the collection without it',
    );
  if (!capabilities.metrics.includes(schema.metric))
    throw new UnsupportedError(`metric: the provider has no ${schema.metric}, only ${capabilities.metrics.join(', ')}`);
  if (schema.dimension > capabilities.maxDimension)
    throw new UnsupportedError(`dimension: the provider has at most ${capabilities.maxDimension}`);
  return schema;
}

function resolveFields(fields: unknown): VectorSchema['fields'] {
  if (fields === undefined) return {};
  if (!isPlainObject(fields)) throw invalid('fields', fields, 'an object of paths and types');
  const paths = Object.keys(fields).sort();
  if (paths.length > LIMITS.fields) throw invalid('fields', fields, `at most ${LIMITS.fields} fields`);
  const resolved: Record<string, VectorFieldType> = {};
  for (const path of paths) {
    const fault = metadataKeyFault(path) ?? pathFault(path);
    if (fault !== undefined)
      throw new ValidationError('VALIDATION', `fields: the path ${JSON.stringify(path)} ${fault}`, {
        details: { key: 'fields', path, reason: fault },
      });
    resolved[path] = checkOneOf(fields[path], `fields.${path}`, FIELD_TYPES);
  }
  return resolved;
}

function resolveIndex(index: unknown): VectorIndex {
  if (index === undefined) return { ...DEFAULT_INDEX };
  const { kind } = checkKeys(index, 'index', ['kind', 'm', 'efConstruction', 'quantize', 'lists', 'probes']);
  switch (checkOneOf(kind, 'index.kind', ['hnsw', 'ivfflat', 'none'])) {
    case 'none':
      checkKeys(index, 'index', ['kind']);
      return { kind: 'none' };
    case 'ivfflat': {
      const { lists = 100, probes } = checkKeys(index, 'index', ['kind', 'lists', 'probes']);
      const count = checkWhole(lists, 'index.lists', 1, 32_768);
      return {
        kind: 'ivfflat',
        lists: count,
        probes: checkWhole(probes ?? Math.ceil(Math.sqrt(count)), 'index.probes', 1, count),
      };
    }
    case 'hnsw': {
      const keys = ['kind', 'm', 'efConstruction', 'quantize'];
      const {
        m = DEFAULT_INDEX.m,
        efConstruction,
        quantize = DEFAULT_INDEX.quantize,
      } = checkKeys(index, 'index', keys);
      const links = checkWhole(m, 'index.m', 2, 100);
      const width = efConstruction ?? Math.max(DEFAULT_INDEX.efConstruction, 2 * links);
      return {
        kind: 'hnsw',
        m: links,
        // Less than twice `m` is refused by the index itself.
        efConstruction: checkWhole(width, 'index.efConstruction', Math.max(4, 2 * links), 1_000),
        quantize: checkOneOf(quantize, 'index.quantize', ['auto', 'half', 'bit'] as const),
      };
    }
  }
}

function resolveText(text: unknown): { language: string } {
  const { language = 'simple' } = checkKeys(text, 'text', ['language']);
  if (typeof language !== 'string' || !/^[a-z][a-z_]{0,62}$/.test(language))
    throw invalid('text.language', language, 'the name of a text search configuration, of a-z and _');
  return { language };
}

function checkOneOf<V extends string>(value: unknown, key: string, allowed: readonly V[]): V {
  if (!allowed.includes(value as V)) throw invalid(key, value, `one of ${allowed.join(', ')}`);
  return value as V;
}

/** Whether two schemas declare the same, whatever the order of their keys. */
export function sameSchema(a: VectorSchema, b: VectorSchema): boolean {
  return a === b || canonicalSchema(a) === canonicalSchema(b);
}

const PARTS = ['dimension', 'metric', 'sparse', 'fields', 'index', 'text'] as const;

/**
 * @param known the declaration of what is there under the name; `undefined`: it has none, and is `foreign`.
 * @throws `CONFLICT` when it is not declared as `asked`; `details.differs` names the parts, `details.fields` the paths.
 */
export function checkSameSchema(
  known: VectorSchema | undefined,
  asked: VectorSchema,
  component: string,
  foreign = 'without a declaration',
): void {
  if (known !== undefined && sameSchema(known, asked)) return;
  const differs = PARTS.filter((part) => known && !sameSchema({ ...known, [part]: asked[part] }, known));
  const fields = known === undefined ? [] : differingFields(known.fields, asked.fields);
  const keys = [...differs.filter((part) => part !== 'fields'), ...fields.map((path) => `fields.${path}`)];
  const what =
    known === undefined
      ? `is there ${foreign}: take another name`
      : `is declared with other values of ${keys.join(', ')}: delete it and write it anew, or make one of another name`;
  throw new ConflictError('CONFLICT', `The vector collection ${asked.name} ${what}`, {
    component,
    details: { collection: asked.name, differs, ...(fields.length === 0 ? {} : { fields }) },
  });
}

/** The paths that only one of the two has, or that have another type. */
function differingFields(known: VectorSchema['fields'], asked: VectorSchema['fields']): string[] {
  const paths = new Set([...Object.keys(known), ...Object.keys(asked)]);
  return [...paths].filter((path) => known[path] !== asked[path]).sort();
}

const CANONICAL = new WeakMap<VectorSchema, string>();

/** One text for equal declarations. What is not declared is not in it: a part that comes with a later release changes none. */
export function canonicalSchema(schema: VectorSchema): string {
  let text = CANONICAL.get(schema);
  if (text === undefined) {
    const { name, dimension, metric, sparse, fields, index, text: searched } = schema;
    const sorted = (value: object): [string, unknown][] => Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1));
    const parts = { name, dimension, metric, sparse, fields: sorted(fields), index: sorted(index) };
    CANONICAL.set(schema, (text = JSON.stringify({ ...parts, text: searched?.language })));
  }
  return text;
}
