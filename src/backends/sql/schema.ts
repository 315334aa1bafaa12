/** Tables and indexes: what a collection needs, and the call that makes what is missing. */
import type { OperationContext } from '../../component.js';
import { StorageError } from '../../errors.js';
import { recordWords } from '../../filter/text.js';
import type { IndexSchema, RecordSchema } from '../backend.js';
import type { Database, Dialect } from './dialect.js';
import { identifier, indexedField, indexName, keyExpression, orderTerm } from './expressions.js';
import { uniqueViolation } from './fault.js';

interface Part {
  readonly name: string;
  readonly ddl: string;
}

/** What stands in the catalogue for a collection, by name, and the statements that make it. */
export interface TablePlan {
  readonly table: Part;
  readonly indexes: readonly Part[];
  /** The name of each unique index with that of its constraint. */
  readonly unique: ReadonlyMap<string, string>;
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
  const indexes = new Map<string, Part>();
  const add = (kind: 'index' | 'unique' | 'words' | 'expiry', definition: string): string => {
    const index = indexName(name, kind, definition);
    const create = kind === 'unique' ? 'CREATE UNIQUE INDEX' : 'CREATE INDEX';
    indexes.set(index, { name: index, ddl: `${create} IF NOT EXISTS ${identifier(index)} ON ${table} ${definition}` });
    return index;
  };
  // Partial: reads ask `expires_at > now`, which most rows fulfil, and must not be led here.
  add('expiry', `(expires_at) WHERE ${dialect.expires('')}`);
  if (schema.text.length > 0 && definitions.wordsIndex !== undefined) add('words', definitions.wordsIndex);
  for (const index of schema.indexes) add('index', `(${indexKeys(dialect, index, schema).join(', ')})`);
  const unique = new Map<string, string>();
  for (const constraint of schema.unique) {
    const keys = constraint.fields.map((field) => keyExpression(dialect, indexedField(field, schema.fields), ''));
    const index = add('unique', `(tenant, ${keys.join(', ')})`);
    if (!unique.has(index)) unique.set(index, constraint.name);
  }
  return { table: { name, ddl: definitions.tableDdl(schema.name) }, indexes: [...indexes.values()], unique };
}

function indexKeys(dialect: Dialect, index: IndexSchema, schema: RecordSchema): string[] {
  const keys = index.scope === 'tenant' ? ['tenant'] : [];
  for (const key of index.keys)
    keys.push(orderTerm(dialect, indexedField(key.field, schema.fields), key.direction, ''));
  if (index.keys.at(-1)?.field !== 'id') keys.push(index.keys.at(-1)?.direction === 'desc' ? 'id DESC' : 'id ASC');
  return keys;
}

/** Makes what is missing of the collections' tables and indexes, under a lock that other processes take too. */
export async function ensureTables(
  database: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<void> {
  if (schemas.length === 0 || (await missingParts(database, schemas, context)).length === 0) return;
  const make = (inside: OperationContext): Promise<void> => makeMissing(database, schemas, inside);
  if (context.session !== undefined) return make(context);
  await database.pool.transaction({ context }, (session) => make({ ...context, session }));
}

async function makeMissing(
  database: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<void> {
  const { pool, dialect } = database;
  await dialect.definitions.lock(pool, context);
  const missing = await missingParts(database, schemas, context);
  if (missing.length === 0) return;
  await dialect.definitions.prepare(pool, context);
  for (const { schema, part, kind } of missing) {
    if (kind === 'words') await addWords(database, schema, context);
    else await makePart(database, schema, part, context);
  }
}

interface MissingPart {
  readonly schema: RecordSchema;
  readonly part: Part;
  readonly kind: 'table' | 'words' | 'index';
}

/** One query of the catalogue for all collections. Tables come before their columns, those before their indexes. */
async function missingParts(
  { pool, dialect }: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<MissingPart[]> {
  const plans = schemas.map((schema) => ({ schema, plan: tablePlan(dialect, schema) }));
  const names = plans.flatMap(({ plan }) => [plan.table.name, ...plan.indexes.map((index) => index.name)]);
  const { text, values } = dialect.definitions.catalogue(names);
  const { rows } = await pool.query(text, values, context);
  const found = new Map(rows.map((row) => [row['name'] as string, Boolean(row['words'])]));
  return plans.flatMap(({ schema, plan }) => {
    const missing: MissingPart[] = [];
    if (!found.has(plan.table.name)) missing.push({ schema, part: plan.table, kind: 'table' });
    if (schema.text.length > 0 && found.get(plan.table.name) !== true)
      missing.push({ schema, part: plan.table, kind: 'words' });
    for (const part of plan.indexes) if (!found.has(part.name)) missing.push({ schema, part, kind: 'index' });
    return missing;
  });
}

async function makePart(
  { pool, dialect }: Database,
  schema: RecordSchema,
  part: Part,
  context: OperationContext,
): Promise<void> {
  try {
    await pool.script(part.ddl, context);
  } catch (error) {
    const constraint = tablePlan(dialect, schema).unique.get(part.name);
    if (constraint === undefined || uniqueViolation(error) === undefined) throw error;
    throw new StorageError(
      'MIGRATION',
      `The collection ${schema.name} has records that violate its new unique constraint ${constraint}`,
      { operation: 'ensure', details: { collection: schema.name, constraint }, cause: error },
    );
  }
}

/** A page of the rewrite of a table whose collection came to declare `text`. */
const WORDS_PAGE = 500;

/** Words are made here and not by the server, so records from before the declaration are read and written once. */
async function addWords({ pool, dialect }: Database, schema: RecordSchema, context: OperationContext): Promise<void> {
  const table = dialect.tableName(schema.name);
  await pool.script(`ALTER TABLE ${table} ADD COLUMN ${dialect.definitions.wordsColumn}`, context);
  let last: readonly [string, string] = ['', ''];
  for (;;) {
    const parameters = dialect.parameters();
    const after = `(${last.map((key) => parameters.text(key)).join(', ')})`;
    const { rows } = await pool.query(
      `SELECT t.tenant, t.id, t.value FROM ${table} t WHERE (t.tenant, t.id) > ${after} ORDER BY t.tenant, t.id LIMIT ${WORDS_PAGE}`,
      parameters.values,
      context,
    );
    const end = rows.at(-1);
    if (end === undefined) return;
    last = [end['tenant'] as string, end['id'] as string];
    const words = rows.map((row) => ({
      tenant: row['tenant'] as string,
      id: row['id'] as string,
      words: recordWords(schema.text, dialect.readValue(row['value'])),
    }));
    await dialect.definitions.saveWords(pool, table, words, context);
  }
}
