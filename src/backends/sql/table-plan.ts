/** What a collection needs in the catalogue, by name: a changed definition is another index. */
import type { IndexSchema, RecordSchema } from '../backend.js';
import type { Dialect } from './dialect.js';
import { identifier, indexedField, indexName, keyExpression, orderTerm } from './expressions.js';

export interface IndexPlan {
  readonly name: string;
  readonly unique: boolean;
  /** `ON table (keys)` */
  readonly on: string;
}

export interface UniquePlan {
  readonly constraint: string;
  /** The expressions of its fields in the row `t`. */
  readonly keys: readonly string[];
}

export interface TablePlan {
  /** As the catalogue has it. */
  readonly name: string;
  readonly table: string;
  readonly indexes: readonly IndexPlan[];
  /** By the name of their index. */
  readonly unique: ReadonlyMap<string, UniquePlan>;
}

const PLANS = new WeakMap<Dialect, WeakMap<RecordSchema, TablePlan>>();

export function tablePlan(dialect: Dialect, schema: RecordSchema): TablePlan {
  let plans = PLANS.get(dialect);
  if (plans === undefined) PLANS.set(dialect, (plans = new WeakMap()));
  let plan = plans.get(schema);
  if (plan === undefined) plans.set(schema, (plan = makePlan(dialect, schema)));
  return plan;
}

function makePlan(dialect: Dialect, schema: RecordSchema): TablePlan {
  const { definitions } = dialect;
  const table = dialect.tableName(schema.name);
  const name = definitions.catalogueName(schema.name);
  const indexes = new Map<string, IndexPlan>();
  const add = (kind: 'index' | 'unique' | 'words' | 'expiry', definition: string): string => {
    const index = indexName(name, kind, definition);
    indexes.set(index, { name: index, unique: kind === 'unique', on: `ON ${table} ${definition}` });
    return index;
  };
  // First what others must not wait for longer than they have to.
  const unique = new Map<string, UniquePlan>();
  for (const constraint of schema.unique) {
    const fields = constraint.fields.map((field) => indexedField(field, schema.fields));
    const keys = fields.map((field) => keyExpression(dialect, field, ''));
    const index = add('unique', `(tenant, ${keys.join(', ')})`);
    if (!unique.has(index))
      unique.set(index, {
        constraint: constraint.name,
        keys: fields.map((field) => keyExpression(dialect, field, 't.')),
      });
  }
  // Partial: reads ask `expires_at > now`, which most rows fulfil, and must not be led here.
  add('expiry', `(expires_at) WHERE ${dialect.expires('')}`);
  if (schema.text.length > 0 && definitions.wordsIndex !== undefined) add('words', definitions.wordsIndex);
  for (const index of schema.indexes) add('index', `(${indexKeys(dialect, index, schema).join(', ')})`);
  return { name, table, indexes: [...indexes.values()], unique };
}

function indexKeys(dialect: Dialect, index: IndexSchema, schema: RecordSchema): string[] {
  const keys = index.scope === 'tenant' ? ['tenant'] : [];
  for (const key of index.keys)
    keys.push(orderTerm(dialect, indexedField(key.field, schema.fields), key.direction, ''));
  if (index.keys.at(-1)?.field !== 'id') keys.push(index.keys.at(-1)?.direction === 'desc' ? 'id DESC' : 'id ASC');
  return keys;
}

export function createIndex({ name, unique, on }: IndexPlan, manner: '' | 'CONCURRENTLY '): string {
  return `CREATE ${unique ? 'UNIQUE ' : ''}INDEX ${manner}IF NOT EXISTS ${identifier(name)} ${on}`;
}
