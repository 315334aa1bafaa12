/** The tables: a catalogue, and one a collection, with tenant and namespace first in the key. */
import type { OperationContext } from '../../component.js';
import { ConflictError, UnsupportedError } from '../../errors.js';
import type { SqlPool } from '../../pools/pool.js';
import type { Metric, VectorIndex, VectorSchema } from '../provider.js';
import { fieldExpression } from './filter.js';

const CATALOGUE = '"quartermaster"."qm_vectors"';
/** pgvector's indexes of the type `vector` end here. */
const MAX_INDEXED_DIMENSION = 2_000;

export function tableName(collection: string): string {
  return `"quartermaster"."qm_v_${collection}"`;
}

export const OPERATORS: Readonly<Record<Metric, { readonly distance: string; readonly class: string }>> = {
  cosine: { distance: '<=>', class: 'vector_cosine_ops' },
  euclidean: { distance: '<->', class: 'vector_l2_ops' },
  dot: { distance: '<#>', class: 'vector_ip_ops' },
};

/** Runs DDL in a transaction under the lock of the library: `IF NOT EXISTS` alone fails most of several racers. */
async function underLock(
  pool: SqlPool,
  context: OperationContext,
  work: (inside: OperationContext) => Promise<void>,
): Promise<void> {
  await pool.transaction({ context }, async (session) => {
    const inside = { ...context, session };
    await pool.query('SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))', ['quartermaster'], inside);
    await work(inside);
  });
}

export async function prepareDatabase(pool: SqlPool, context: OperationContext): Promise<void> {
  const { rows } = await pool.query(`SELECT to_regclass('${CATALOGUE}') IS NOT NULL AS there`, [], context);
  if (rows[0]?.['there'] === true) return;
  await underLock(pool, context, (inside) =>
    pool.script(
      `CREATE EXTENSION IF NOT EXISTS vector;
       CREATE SCHEMA IF NOT EXISTS "quartermaster";
       CREATE TABLE IF NOT EXISTS ${CATALOGUE} (
         name text COLLATE "C" PRIMARY KEY, dimension integer NOT NULL, metric text NOT NULL,
         fields jsonb NOT NULL, "index" jsonb NOT NULL)`,
      inside,
    ),
  );
}

export async function readSchema(
  pool: SqlPool,
  name: string,
  context: OperationContext,
): Promise<VectorSchema | undefined> {
  const text = `SELECT name, dimension, metric, fields, "index" FROM ${CATALOGUE} WHERE name = $1::text`;
  const { rows } = await pool.query(text, [name], context);
  return rows[0] as unknown as VectorSchema | undefined;
}

export async function listTables(pool: SqlPool, context: OperationContext): Promise<string[]> {
  const { rows } = await pool.query(`SELECT name FROM ${CATALOGUE} ORDER BY name`, [], context);
  return rows.map((row) => row['name'] as string);
}

/** @throws `CONFLICT` when the name has another declaration, `UNSUPPORTED` for an index that pgvector does not have. */
export async function createTable(pool: SqlPool, schema: VectorSchema, context: OperationContext): Promise<void> {
  const index = indexDefinition(schema);
  const make = async (inside: OperationContext): Promise<void> => {
    const other = await readSchema(pool, schema.name, inside);
    if (other !== undefined) return checkEqual(other, schema);
    const table = tableName(schema.name);
    const fields = Object.keys(schema.fields).map((field) => `CREATE INDEX ON ${table} (${fieldExpression(field)});`);
    // Vectors that fit beside the row are kept there: out of line they cost three times as much to compare with all.
    const storage =
      schema.dimension <= MAX_INDEXED_DIMENSION
        ? `ALTER TABLE ${table} ALTER embedding SET STORAGE PLAIN, SET (toast_tuple_target = 8160);`
        : '';
    await pool.script(
      `CREATE TABLE ${table} (
         tenant text COLLATE "C" NOT NULL, namespace text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,
         embedding vector(${schema.dimension}) NOT NULL, metadata jsonb NOT NULL, text text,
         PRIMARY KEY (tenant, namespace, id));
       ${storage}
       ${index === undefined ? '' : `CREATE INDEX ON ${table} ${index};`}
       CREATE INDEX ON ${table} USING gin (metadata jsonb_path_ops);
       ${fields.join('\n')}`,
      inside,
    );
    await pool.query(
      `INSERT INTO ${CATALOGUE} VALUES ($1::text, $2::integer, $3::text, $4::jsonb, $5::jsonb)`,
      [schema.name, schema.dimension, schema.metric, JSON.stringify(schema.fields), JSON.stringify(schema.index)],
      inside,
    );
  };
  await (context.session === undefined ? underLock(pool, context, make) : make(context));
}

export async function dropTable(pool: SqlPool, name: string, context: OperationContext): Promise<boolean> {
  let found = false;
  const drop = async (inside: OperationContext): Promise<void> => {
    const { affected } = await pool.query(`DELETE FROM ${CATALOGUE} WHERE name = $1::text`, [name], inside);
    found = affected > 0;
    if (found) await pool.script(`DROP TABLE ${tableName(name)}`, inside);
  };
  await (context.session === undefined ? underLock(pool, context, drop) : drop(context));
  return found;
}

function indexDefinition({ name, dimension, metric, index }: VectorSchema): string | undefined {
  if (index.kind === 'none') return undefined;
  const refuse = (reason: string): never => {
    throw new UnsupportedError(`${name}: ${reason}; { kind: 'none' } searches without an index`, {
      component: 'vectors:pgvector',
      operation: 'createCollection',
    });
  };
  if (dimension > MAX_INDEXED_DIMENSION)
    return refuse(`an index takes at most ${MAX_INDEXED_DIMENSION} dimensions, not ${dimension}`);
  if (index.kind === 'ivfflat')
    return `USING ivfflat (embedding ${OPERATORS[metric].class}) WITH (lists = ${index.lists ?? 100})`;
  if (index.quantize !== undefined) return refuse('quantized indexes are not offered');
  const { m = 16, efConstruction = 64 } = index;
  return `USING hnsw (embedding ${OPERATORS[metric].class}) WITH (m = ${m}, ef_construction = ${efConstruction})`;
}

function checkEqual(there: VectorSchema, asked: VectorSchema): void {
  const differs = (['dimension', 'metric', 'fields', 'index'] as const).filter(
    (key) => canonical(there[key]) !== canonical(asked[key]),
  );
  if (differs.length > 0)
    throw new ConflictError('CONFLICT', `The collection ${asked.name} exists with another ${differs.join(', ')}`, {
      component: 'vectors:pgvector',
      operation: 'createCollection',
      details: { collection: asked.name, differs },
    });
}

function canonical(part: VectorIndex | VectorSchema['fields'] | string | number): string {
  if (typeof part !== 'object') return String(part);
  return JSON.stringify(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
}
