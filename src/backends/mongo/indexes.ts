/** What a collection needs on the server, by name: a changed definition is another index. */
import { createHash } from 'node:crypto';
import type { Document } from '../../pools/mongo/operation-use.js';
import type { FieldType } from '../../filter/syntax.js';
import type { IndexSchema, RecordSchema } from '../backend.js';
import { envelopePath, valuePath } from './keys.js';

interface IndexOptions {
  readonly sparse?: true;
  readonly unique?: true;
  readonly partialFilterExpression?: Document;
}

export interface IndexPart extends IndexOptions {
  readonly name: string;
  readonly key: Readonly<Record<string, 1 | -1>>;
}

export interface UniquePart {
  readonly index: IndexPart;
  readonly constraint: string;
  /** The paths of its fields in the document. */
  readonly paths: readonly (readonly string[])[];
}

export interface CollectionPlan {
  readonly indexes: readonly IndexPart[];
  readonly unique: readonly UniquePart[];
  /** The names of all indexes. */
  readonly parts: readonly string[];
}

const PLANS = new WeakMap<RecordSchema, CollectionPlan>();

export function collectionPlan(schema: RecordSchema): CollectionPlan {
  let plan = PLANS.get(schema);
  if (plan === undefined) PLANS.set(schema, (plan = makePlan(schema)));
  return plan;
}

function makePlan(schema: RecordSchema): CollectionPlan {
  const indexes = new Map<string, IndexPart>();
  const add = (kind: string, key: IndexPart['key'], options: IndexOptions = {}): IndexPart => {
    const name = `${kind}_${hash([Object.entries(key), options])}`;
    const part = { name, key, ...options };
    indexes.set(name, part);
    return part;
  };
  add('i', { t: 1, i: 1 });
  // Of what expires only.
  add('e', { e: 1 }, { sparse: true });
  if (schema.text.length > 0) add('w', { t: 1, w: 1 });
  for (const index of schema.indexes) add('i', indexKey(index, schema));
  const plain = [...indexes.values()];
  const unique = schema.unique.map(({ name, fields }): UniquePart => {
    const paths = fields.map((field) => field.split('.'));
    const key: Record<string, 1> = { t: 1 };
    const typed: Document = {};
    for (const [i, path] of paths.entries()) {
      key[valuePath(path)] = 1;
      // What lacks a field, or has null there, is outside the constraint.
      typed[valuePath(path)] = { $type: bsonType(schema.fields.get(fields[i]!)!.type) };
    }
    return { index: add('u', key, { unique: true, partialFilterExpression: typed }), constraint: name, paths };
  });
  return { indexes: plain, unique, parts: [...indexes.keys()] };
}

function indexKey(index: IndexSchema, schema: RecordSchema): Record<string, 1 | -1> {
  const key: Record<string, 1 | -1> = index.scope === 'tenant' ? { t: 1 } : {};
  for (const { field, direction } of index.keys) {
    const path = schema.fields.has(field) ? valuePath(field.split('.')) : envelopePath(field);
    key[path] = direction === 'asc' ? 1 : -1;
  }
  key['i'] ??= index.keys.at(-1)?.direction === 'desc' ? -1 : 1;
  if (index.scope === 'all') key['t'] = 1;
  return key;
}

export function bsonType(type: FieldType): string {
  return type === 'boolean' ? 'bool' : type === 'number' ? 'number' : 'string';
}

function hash(definition: unknown): string {
  return createHash('sha256').update(JSON.stringify(definition)).digest('hex').slice(0, 12);
}
