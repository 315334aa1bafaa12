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
import { Parameters } from './parameters.js';
import { tableName } from './table.js';
import { boundWords, wordsExpression } from './words.js';

export interface Statement {
  readonly text: string;
  readonly parameters: Parameters;
}

/**
 * One statement for a batch. Sorted by id: batches that overlap then lock their rows in one order, and none deadlocks.
 * @param oid of the type `vector`, where the pool takes binary forms.
 */
export function upsertStatement(
  schema: VectorSchema,
  { tenant, namespace }: VectorScope,
  records: readonly StoredVector[],
  oid: number | undefined,
): Statement {
  const sorted = [...records].sort((a, b) => compareText(a.id, b.id));
  const parameters = new Parameters();
  const scope = `${parameters.text(tenant)}, ${parameters.text(namespace)}`;
  const searched = schema.text !== undefined;
  const columns = [
    parameters.texts(sorted.map(({ id }) => id)),
    parameters.texts(sorted.map(({ metadata }) => JSON.stringify(metadata))),
    parameters.texts(sorted.map(({ text }) => text ?? null)),
    ...(searched ? [parameters.texts(sorted.map(({ text }) => boundWords(schema, text)))] : []),
    // The last: where the message grows beyond its buffer it is copied, and these are nearly all of it.
    parameters.vectors(
      sorted.map(({ vector }) => vector),
      oid,
    ),
  ];
  const names = ['metadata', 'text', ...(searched ? ['words'] : []), 'embedding'];
  const words = searched ? `, ${wordsExpression(schema, 'u.words')}` : '';
  return {
    parameters,
    text:
      `INSERT INTO ${tableName(schema)} (tenant, namespace, id, ${names.join(', ')}) ` +
      `SELECT ${scope}, u.id, u.metadata::jsonb, u.text${words}, u.embedding ` +
      `FROM unnest(${columns.join(', ')}) AS u(id, ${names.join(', ')}) ` +
      `ON CONFLICT (tenant, namespace, id) DO UPDATE SET ${names.map((name) => `${name} = excluded.${name}`).join(', ')}`,
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
