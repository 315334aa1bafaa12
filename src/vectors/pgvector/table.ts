/** Names, operators and the DDL of a collection's table. */
import { createHash } from 'node:crypto';
import { canonicalSchema } from '../codec/schema.js';
import type { Metric, VectorIndex, VectorSchema } from '../provider.js';
import { precisionOf, type Precision } from './precision.js';

export const SCHEMA = '"quartermaster"';
export const CATALOGUE = `${SCHEMA}."qm_vectors"`;

/**
 * Beyond it a vector of float32 does not fit into a page of 8 kB with its row: 4 bytes each, and besides them up to 24 bytes of
 * every other column, since what is no longer than that is not moved out of the row.
 */
const MAX_INLINE_DIMENSION = 1_980;

interface Operator {
  readonly sign: string;
  /** What its operator classes are called after: `vector_cosine_ops`. */
  readonly name: string;
}

const OPERATORS: Readonly<Record<Metric, Operator>> = {
  cosine: { sign: '<=>', name: 'cosine' },
  euclidean: { sign: '<->', name: 'l2' },
  dot: { sign: '<#>', name: 'ip' },
};

/**
 * A collection's table: `qm_v_docs_5f1c09ab`. Its end stands for the declaration, so that a process that remembers a
 * collection as it was before it was made anew finds no table, instead of scores by another metric or rows without words.
 * Collection names are checked by pattern; the hyphens in them need the quotes.
 */
export function tableName(schema: VectorSchema): string {
  return `${SCHEMA}.${quoted(relation(schema))}`;
}

const relations = new WeakMap<VectorSchema, string>();

/** With the end of its index's name it has up to 63 bytes, which is what the server keeps of one. */
function relation(schema: VectorSchema): string {
  let name = relations.get(schema);
  if (name === undefined) {
    const digest = createHash('sha256').update(canonicalSchema(schema)).digest('hex');
    relations.set(schema, (name = `qm_v_${schema.name}_${digest.slice(0, 8)}`));
  }
  return name;
}

function quoted(name: string): string {
  return `"${name}"`;
}

export function distance(metric: Metric, vector: string): string {
  return `embedding ${OPERATORS[metric].sign} ${vector}`;
}

/** The order in which an index of this precision gives its rows. */
export function indexedDistance({ metric, dimension }: VectorSchema, precision: Precision, vector: string): string {
  switch (precision) {
    case 'full':
      return distance(metric, vector);
    case 'half':
      return `(embedding::halfvec(${dimension})) ${OPERATORS[metric].sign} ${vector}::halfvec(${dimension})`;
    case 'bit':
      return `(binary_quantize(embedding)::bit(${dimension})) <~> binary_quantize(${vector})`;
  }
}

function indexedColumn({ metric, dimension }: VectorSchema, precision: Precision): string {
  switch (precision) {
    case 'full':
      return `embedding vector_${OPERATORS[metric].name}_ops`;
    case 'half':
      return `(embedding::halfvec(${dimension})) halfvec_${OPERATORS[metric].name}_ops`;
    case 'bit':
      return `(binary_quantize(embedding)::bit(${dimension})) bit_hamming_ops`;
  }
}

/** A distance of pgvector as a score. */
export function scoreOfDistance(metric: Metric, value: number): number {
  // From 0, because the negative of 0 is -0.
  return (metric === 'cosine' ? 1 : 0) - value;
}

export function createCatalogue(): string {
  return (
    // Who may not make schemas is refused before the server looks whether this one is there.
    `DO $$ BEGIN IF to_regnamespace('${SCHEMA}') IS NULL THEN CREATE SCHEMA IF NOT EXISTS ${SCHEMA}; END IF; END $$; ` +
    `CREATE TABLE IF NOT EXISTS ${CATALOGUE} (` +
    'name text COLLATE "C" PRIMARY KEY, dimension integer NOT NULL, metric text NOT NULL, ' +
    'fields jsonb NOT NULL, index jsonb NOT NULL, text jsonb); ' +
    // As it was made before texts could be searched. Even a column that is there is only added once nobody reads the table.
    `DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = '${CATALOGUE}'::regclass AND attname = 'text') ` +
    `THEN ALTER TABLE ${CATALOGUE} ADD COLUMN IF NOT EXISTS text jsonb; END IF; END $$`
  );
}

export function createTable(schema: VectorSchema): string {
  const table = tableName(schema);
  const statements = [
    `CREATE TABLE ${table} (tenant text COLLATE "C" NOT NULL, namespace text COLLATE "C" NOT NULL, ` +
      `id text COLLATE "C" NOT NULL, embedding vector(${schema.dimension}) NOT NULL, metadata jsonb NOT NULL, ` +
      `text text, ${schema.text === undefined ? '' : 'words tsvector, '}PRIMARY KEY (tenant, namespace, id))`,
    // Nothing is estimated from vectors, and sorting them for statistics takes long.
    `ALTER TABLE ${table} ALTER embedding SET STATISTICS 0`,
    `CREATE INDEX ON ${table} ${gin('metadata jsonb_path_ops')}`,
  ];
  if (schema.dimension <= MAX_INLINE_DIMENSION)
    // In the row: out of line every distance is a second read. The target keeps the metadata in the row too.
    statements.push(`ALTER TABLE ${table} ALTER embedding SET STORAGE PLAIN, SET (toast_tuple_target = 8160)`);
  // Strings are found by the GIN index; a b-tree would refuse the long ones.
  for (const [path, type] of Object.entries(schema.fields))
    if (type === 'number' || type === 'date')
      statements.push(`CREATE INDEX ON ${table} ((metadata->${literal(path)}))`);
  if (schema.text !== undefined) statements.push(`CREATE INDEX ON ${table} ${gin('words')}`);
  statements.push(...createIndex(schema));
  return statements.join('; ');
}

/**
 * What is written waits in a list that every search reads from end to end, until it is as long as this (kB), or the table is
 * vacuumed. By the server's default of 4 MB, which 20,000 records do not fill, the planner reads the whole table instead: 13 ms
 * for what takes 2 here, and records are written as fast.
 */
function gin(column: string): string {
  return `USING gin (${column}) WITH (gin_pending_list_limit = 256)`;
}

/** The index of the vectors, of a name of its own; none where the collection has none. */
export function createIndex(schema: VectorSchema, concurrently = false): string[] {
  const precision = precisionOf(schema);
  const index = indexMethod(schema.index);
  if (precision === 'none' || index === undefined) return [];
  return [
    `CREATE INDEX ${concurrently ? 'CONCURRENTLY ' : ''}IF NOT EXISTS ${quoted(indexName(schema))} ON ${tableName(schema)} ` +
      `USING ${index.method} (${indexedColumn(schema, precision)}) WITH (${index.options})`,
  ];
}

/** In the schema of its table, without quotes. */
export function indexName(schema: VectorSchema): string {
  return `${relation(schema)}_ann`;
}

function indexMethod(index: VectorIndex): { method: string; options: string } | undefined {
  switch (index.kind) {
    case 'hnsw':
      return { method: 'hnsw', options: `m = ${index.m ?? 16}, ef_construction = ${index.efConstruction ?? 64}` };
    case 'ivfflat':
      return { method: 'ivfflat', options: `lists = ${index.lists ?? 100}` };
    case 'none':
      return undefined;
  }
}

/** A text literal; `standard_conforming_strings` is on since PostgreSQL 9.1, so only quotes need care. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
