/** The tables: a catalogue, and one a collection, with tenant and namespace first in the key. */
import type { OperationContext } from '../../component.js';
import { ConflictError, UnsupportedError } from '../../errors.js';
import type { SqlPool } from '../../pools/pool.js';
import type { Metric, VectorIndex, VectorSchema } from '../provider.js';
import { indexExpression } from './filter.js';

export const CATALOGUE = '"quartermaster"."qm_vectors"';
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

/**
 * Runs DDL in a transaction, the context's own when it has one. The lock is taken before anything is read: `LOCK` is what
 * a transaction may wait for without its view of the data being fixed before the wait.
 */
async function underLock(
  pool: SqlPool,
  context: OperationContext,
  work: (inside: OperationContext) => Promise<void>,
): Promise<void> {
  const locked = async (inside: OperationContext): Promise<void> => {
    await pool.script(`LOCK TABLE ${CATALOGUE} IN SHARE ROW EXCLUSIVE MODE`, inside);
    await work(inside);
  };
  if (context.session !== undefined) return locked(context);
  await pool.transaction({ context, isolation: 'snapshot' }, (session) => locked({ ...context, session }));
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
  const there = await readSchema(pool, schema.name, context);
  if (there !== undefined) return checkEqual(there, schema);
  await underLock(pool, context, (inside) => makeTable(pool, schema, index, inside));
}

async function makeTable(
  pool: SqlPool,
  schema: VectorSchema,
  index: string | undefined,
  context: OperationContext,
): Promise<void> {
  const there = await readSchema(pool, schema.name, context);
  if (there !== undefined) return checkEqual(there, schema);
  const table = tableName(schema.name);
  const expressions = Object.entries(schema.fields).map(([key, type]) => indexExpression(key, type));
  const indexes = [
    ...(index === undefined ? [] : [index]),
    'USING gin (metadata jsonb_path_ops)',
    ...expressions.filter((expression) => expression !== undefined).map((expression) => `(${expression})`),
  ];
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
     ${indexes.map((definition) => `CREATE INDEX ON ${table} ${definition};`).join('\n')}`,
    context,
  );
  await pool.query(
    `INSERT INTO ${CATALOGUE} (name, dimension, metric, fields, "index") ` +
      'VALUES ($1::text, $2::integer, $3::text, $4::jsonb, $5::jsonb)',
    [schema.name, schema.dimension, schema.metric, JSON.stringify(schema.fields), JSON.stringify(schema.index)],
    context,
  );
}

export async function dropTable(pool: SqlPool, name: string, context: OperationContext): Promise<boolean> {
  let found = false;
  await underLock(pool, context, async (inside) => {
    const { affected } = await pool.query(`DELETE FROM ${CATALOGUE} WHERE name = $1::text`, [name], inside);
    found = affected > 0;
    if (found) await pool.script(`DROP TABLE ${tableName(name)}`, inside);
  });
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
    return `USING ivfflat (embedding ${OPERATORS[metric].class}) WITH (lists = ${withDefaults(index).lists})`;
  if (index.quantize !== undefined) return refuse('quantized indexes are not offered yet');
  const { m, efConstruction } = withDefaults(index);
  return `USING hnsw (embedding ${OPERATORS[metric].class}) WITH (m = ${m}, ef_construction = ${efConstruction})`;
}

const DEFAULTS = {
  hnsw: { m: 16, efConstruction: 64 },
  ivfflat: { lists: 100, probes: 10 },
  none: {},
} as const;

/** An index with the numbers that are used where none were declared. */
export function withDefaults<K extends VectorIndex['kind']>(
  index: Extract<VectorIndex, { kind: K }>,
): Extract<VectorIndex, { kind: K }> & (typeof DEFAULTS)[K] {
  return { ...DEFAULTS[index.kind], ...index } as never;
}

function checkEqual(there: VectorSchema, asked: VectorSchema): void {
  const differs = (['dimension', 'metric', 'fields', 'index'] as const).filter(
    (key) => canonical(there, key) !== canonical(asked, key),
  );
  if (differs.length > 0)
    throw new ConflictError('CONFLICT', `The collection ${asked.name} exists with another ${differs.join(', ')}`, {
      component: 'vectors:pgvector',
      operation: 'createCollection',
      details: { collection: asked.name, differs },
    });
}

function canonical(schema: VectorSchema, key: 'dimension' | 'metric' | 'fields' | 'index'): string {
  const part = key === 'index' ? withDefaults(schema.index) : schema[key];
  if (typeof part !== 'object') return String(part);
  return JSON.stringify(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
}
