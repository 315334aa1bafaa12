/** Tables and indexes: what a collection needs, and the call that makes what is missing. */
import type { OperationContext } from '../../component.js';
import { StorageError } from '../../errors.js';
import { recordWords } from '../../filter/text.js';
import type { SqlPool } from '../../pools/pool.js';
import type { IndexSchema, JsonObject, RecordSchema } from '../backend.js';
import { identifier, indexedField, indexName, keyExpression, orderTerm, SCHEMA, tableName } from './expressions.js';
import { sqlFault } from './fault.js';

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

const PLANS = new WeakMap<RecordSchema, TablePlan>();

export function tablePlan(schema: RecordSchema): TablePlan {
  let plan = PLANS.get(schema);
  if (plan === undefined) {
    plan = makePlan(schema);
    PLANS.set(schema, plan);
  }
  return plan;
}

function makePlan(schema: RecordSchema): TablePlan {
  const { name } = schema;
  const table = tableName(name);
  const indexes = new Map<string, Part>();
  const add = (kind: 'index' | 'unique' | 'words' | 'expiry', definition: string): string => {
    const index = indexName(name, kind, definition);
    const create = kind === 'unique' ? 'CREATE UNIQUE INDEX' : 'CREATE INDEX';
    indexes.set(index, { name: index, ddl: `${create} IF NOT EXISTS ${identifier(index)} ON ${table} ${definition}` });
    return index;
  };
  // Partial: reads ask `expires_at > now`, which most rows fulfil, and must not be led here.
  add('expiry', `(expires_at) WHERE expires_at < 'infinity'::timestamptz`);
  if (schema.text.length > 0) add('words', 'USING gin (words)');
  for (const index of schema.indexes) add('index', `(${indexKeys(index, schema).join(', ')})`);
  const unique = new Map<string, string>();
  for (const constraint of schema.unique) {
    const keys = constraint.fields.map((field) => keyExpression(indexedField(field, schema.fields), ''));
    const index = add('unique', `(tenant, ${keys.join(', ')})`);
    if (!unique.has(index)) unique.set(index, constraint.name);
  }
  return { table: { name, ddl: tableDdl(name) }, indexes: [...indexes.values()], unique };
}

function tableDdl(name: string): string {
  return (
    `CREATE TABLE IF NOT EXISTS ${tableName(name)} (` +
    'tenant text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL, ' +
    'created_at timestamptz(3) NOT NULL, updated_at timestamptz(3) NOT NULL, ' +
    "expires_at timestamptz(3) NOT NULL DEFAULT 'infinity', value jsonb NOT NULL, PRIMARY KEY (tenant, id))"
  );
}

function indexKeys(index: IndexSchema, schema: RecordSchema): string[] {
  const keys = index.scope === 'tenant' ? ['tenant'] : [];
  for (const key of index.keys) keys.push(orderTerm(indexedField(key.field, schema.fields), key.direction, ''));
  if (index.keys.at(-1)?.field !== 'id') keys.push(index.keys.at(-1)?.direction === 'desc' ? 'id DESC' : 'id ASC');
  return keys;
}

/** Makes what is missing of the collections' tables and indexes, under a lock that other processes take too. */
export async function ensureTables(
  pool: SqlPool,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<void> {
  if (schemas.length === 0 || (await missingParts(pool, schemas, context)).length === 0) return;
  const make = (inside: OperationContext): Promise<void> => makeMissing(pool, schemas, inside);
  if (context.session !== undefined) return make(context);
  await pool.transaction({ context }, (session) => make({ ...context, session }));
}

async function makeMissing(pool: SqlPool, schemas: readonly RecordSchema[], context: OperationContext): Promise<void> {
  // One lock for all: first users of the schema itself collide too.
  await pool.query('SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))', [SCHEMA], context);
  const missing = await missingParts(pool, schemas, context);
  if (missing.length === 0) return;
  await pool.script(`CREATE SCHEMA IF NOT EXISTS ${identifier(SCHEMA)}`, context);
  for (const { schema, part, kind } of missing) {
    if (kind === 'words') await addWords(pool, schema, context);
    else await makePart(pool, schema, part, context);
  }
}

interface MissingPart {
  readonly schema: RecordSchema;
  readonly part: Part;
  readonly kind: 'table' | 'words' | 'index';
}

/** One query of the catalogue for all collections. Tables come before their columns, those before their indexes. */
async function missingParts(
  pool: SqlPool,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<MissingPart[]> {
  const text =
    'SELECT c.relname::text AS name, EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid ' +
    "AND a.attname = 'words' AND NOT a.attisdropped) AS words FROM pg_catalog.pg_class c " +
    'JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY($2::text[])';
  const plans = schemas.map((schema) => ({ schema, plan: tablePlan(schema) }));
  const names = plans.flatMap(({ plan }) => [plan.table.name, ...plan.indexes.map((index) => index.name)]);
  const { rows } = await pool.query(text, [SCHEMA, names], context);
  const found = new Map(rows.map((row) => [row['name'] as string, row['words'] as boolean]));
  return plans.flatMap(({ schema, plan }) => {
    const missing: MissingPart[] = [];
    if (!found.has(plan.table.name)) missing.push({ schema, part: plan.table, kind: 'table' });
    if (schema.text.length > 0 && found.get(plan.table.name) !== true)
      missing.push({ schema, part: plan.table, kind: 'words' });
    for (const part of plan.indexes) if (!found.has(part.name)) missing.push({ schema, part, kind: 'index' });
    return missing;
  });
}

async function makePart(pool: SqlPool, schema: RecordSchema, part: Part, context: OperationContext): Promise<void> {
  try {
    await pool.script(part.ddl, context);
  } catch (error) {
    const constraint = tablePlan(schema).unique.get(part.name);
    if (constraint === undefined || sqlFault(error)?.state !== '23505') throw error;
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
async function addWords(pool: SqlPool, schema: RecordSchema, context: OperationContext): Promise<void> {
  const table = tableName(schema.name);
  await pool.script(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS words text[] NOT NULL DEFAULT '{}'`, context);
  let last: readonly [string, string] = ['', ''];
  for (;;) {
    const { rows } = await pool.query(
      `SELECT t.tenant, t.id, t.value FROM ${table} t WHERE (t.tenant, t.id) > ($1::text, $2::text) ORDER BY t.tenant, t.id LIMIT ${WORDS_PAGE}`,
      last,
      context,
    );
    const end = rows.at(-1);
    if (end === undefined) return;
    last = [end['tenant'] as string, end['id'] as string];
    await pool.query(
      `UPDATE ${table} t SET words = ARRAY(SELECT jsonb_array_elements_text(u.words::jsonb)) ` +
        'FROM unnest($1::text[], $2::text[], $3::text[]) AS u(tenant, id, words) WHERE t.tenant = u.tenant AND t.id = u.id',
      [
        rows.map((row) => row['tenant'] as string),
        rows.map((row) => row['id'] as string),
        rows.map((row) => JSON.stringify(recordWords(schema.text, row['value'] as JsonObject))),
      ],
      context,
    );
  }
}
