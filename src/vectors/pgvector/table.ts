/** Names, operators and the DDL of a collection's table. */
import type { Metric, VectorIndex, VectorSchema } from '../provider.js';

export const SCHEMA = '"quartermaster"';
export const CATALOGUE = `${SCHEMA}."qm_vectors"`;
/** pgvector indexes no more dimensions of its type `vector`. */
export const MAX_INDEXED_DIMENSION = 2_000;

interface Operator {
  readonly sign: string;
  readonly operatorClass: string;
  /** Part of the table's name. */
  readonly letter: string;
}

const OPERATORS: Readonly<Record<Metric, Operator>> = {
  cosine: { sign: '<=>', operatorClass: 'vector_cosine_ops', letter: 'c' },
  euclidean: { sign: '<->', operatorClass: 'vector_l2_ops', letter: 'e' },
  dot: { sign: '<#>', operatorClass: 'vector_ip_ops', letter: 'd' },
};

/**
 * A collection's table: `qm_v_docs_384c`. Dimension and metric are part of the name, so that a process that remembers a
 * collection as it was before it was made anew finds no table, instead of scores by another metric. Collection names are
 * checked by pattern; the hyphens in them need the quotes.
 */
export function tableName({ name, dimension, metric }: VectorSchema): string {
  return `${SCHEMA}."qm_v_${name}_${dimension}${OPERATORS[metric].letter}"`;
}

export function distance(metric: Metric, vector: string): string {
  return `embedding ${OPERATORS[metric].sign} ${vector}`;
}

/** A distance of pgvector as a score. */
export function scoreOfDistance(metric: Metric, value: number): number {
  // From 0, because the negative of 0 is -0.
  return (metric === 'cosine' ? 1 : 0) - value;
}

export function createCatalogue(): string {
  return (
    `CREATE SCHEMA IF NOT EXISTS ${SCHEMA}; CREATE TABLE IF NOT EXISTS ${CATALOGUE} (` +
    'name text COLLATE "C" PRIMARY KEY, dimension integer NOT NULL, metric text NOT NULL, ' +
    'fields jsonb NOT NULL, index jsonb NOT NULL)'
  );
}

export function createTable(schema: VectorSchema): string {
  const table = tableName(schema);
  const statements = [
    `CREATE TABLE ${table} (tenant text COLLATE "C" NOT NULL, namespace text COLLATE "C" NOT NULL, ` +
      `id text COLLATE "C" NOT NULL, embedding vector(${schema.dimension}) NOT NULL, metadata jsonb NOT NULL, ` +
      'text text, PRIMARY KEY (tenant, namespace, id))',
    // Nothing is estimated from vectors, and sorting them for statistics takes long.
    `ALTER TABLE ${table} ALTER embedding SET STATISTICS 0`,
    `CREATE INDEX ON ${table} USING gin (metadata jsonb_path_ops)`,
  ];
  if (schema.dimension <= MAX_INDEXED_DIMENSION)
    // In the row: out of line every distance is a second read. The target keeps the metadata in the row too.
    statements.push(`ALTER TABLE ${table} ALTER embedding SET STORAGE PLAIN, SET (toast_tuple_target = 8160)`);
  // Strings are found by the GIN index; a b-tree would refuse the long ones.
  for (const [path, type] of Object.entries(schema.fields))
    if (type === 'number' || type === 'date')
      statements.push(`CREATE INDEX ON ${table} ((metadata->${literal(path)}))`);
  const index = vectorIndex(schema.index);
  if (index !== undefined)
    statements.push(
      `CREATE INDEX ON ${table} USING ${index.method} (embedding ${OPERATORS[schema.metric].operatorClass}) WITH (${index.options})`,
    );
  return statements.join('; ');
}

function vectorIndex(index: VectorIndex): { method: string; options: string } | undefined {
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
