/** Rows: what is bound for a batch, and what comes back. */
import { compareText } from '../../filter/evaluate.js';
import type {
  FetchedVector,
  FlatMetadata,
  StoredVector,
  VectorInclude,
  VectorSchema,
  VectorScope,
} from '../provider.js';
import { Parameters, vectorText } from './parameters.js';
import { tableName } from './table.js';

export interface Statement {
  readonly text: string;
  readonly parameters: Parameters;
}

/** One statement for a batch. Sorted by id: batches that overlap then lock their rows in one order, and none deadlocks. */
export function upsertStatement(
  schema: VectorSchema,
  { tenant, namespace }: VectorScope,
  records: readonly StoredVector[],
): Statement {
  const sorted = [...records].sort((a, b) => compareText(a.id, b.id));
  const parameters = new Parameters();
  const scope = `${parameters.text(tenant)}, ${parameters.text(namespace)}`;
  const columns = [
    sorted.map(({ id }) => id),
    sorted.map(({ vector }) => vectorText(vector)),
    sorted.map(({ metadata }) => JSON.stringify(metadata)),
    sorted.map(({ text }) => text ?? null),
  ].map((column) => parameters.texts(column));
  return {
    parameters,
    text:
      `INSERT INTO ${tableName(schema)} (tenant, namespace, id, embedding, metadata, text) ` +
      `SELECT ${scope}, u.id, u.embedding::vector, u.metadata::jsonb, u.text ` +
      `FROM unnest(${columns.join(', ')}) AS u(id, embedding, metadata, text) ` +
      'ON CONFLICT (tenant, namespace, id) DO UPDATE SET ' +
      'embedding = excluded.embedding, metadata = excluded.metadata, text = excluded.text',
  };
}

/** The columns that `include` asks for, beside the id. */
export function columnsOf(include: VectorInclude, vector = 'embedding::text AS embedding'): string {
  return [
    'id',
    ...(include.vector ? [vector] : []),
    ...(include.metadata ? ['metadata'] : []),
    ...(include.text ? ['text'] : []),
  ].join(', ');
}

export function readRow(row: Readonly<Record<string, unknown>>, include: VectorInclude): FetchedVector {
  const text = row['text'];
  return {
    id: row['id'] as string,
    ...(include.vector ? { vector: Float32Array.from(JSON.parse(row['embedding'] as string) as number[]) } : {}),
    ...(include.metadata ? { metadata: row['metadata'] as FlatMetadata } : {}),
    ...(typeof text === 'string' ? { text } : {}),
  };
}
