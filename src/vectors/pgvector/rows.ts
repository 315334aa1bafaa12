/** Records as rows, and back. */
import type { FetchedVector, FlatMetadata, Metric, ScoredVector, StoredVector, VectorInclude } from '../provider.js';

type Row = Readonly<Record<string, unknown>>;

/** The columns of a batch, one array each. Sorted by id, so that two batches that overlap do not wait for each other. */
export function batchColumns(records: readonly StoredVector[]): [string[], string[], string[], (string | null)[]] {
  const sorted = [...records].sort((a, b) => (a.id < b.id ? -1 : 1));
  return [
    sorted.map(({ id }) => id),
    sorted.map(({ vector }) => vectorText(vector)),
    sorted.map(({ metadata }) => JSON.stringify(metadata)),
    sorted.map(({ text }) => text ?? null),
  ];
}

/** pgvector's input form. */
export function vectorText(vector: Float32Array): string {
  return `[${vector.join(',')}]`;
}

/** What is selected: the id and what is included, as `fetched` reads it. */
export function columns(include: VectorInclude): string {
  return chosen(include, 'embedding::text AS vector');
}

/** The same as it is stored. */
export function stored(include: VectorInclude): string {
  return chosen(include, 'embedding');
}

function chosen(include: VectorInclude, vector: string): string {
  return [
    'id',
    ...(include.vector ? [vector] : []),
    ...(include.metadata ? ['metadata'] : []),
    ...(include.text ? ['text'] : []),
  ].join(', ');
}

export function fetched(row: Row): FetchedVector {
  return {
    id: row['id'] as string,
    ...(typeof row['vector'] === 'string' ? { vector: Float32Array.from(JSON.parse(row['vector']) as number[]) } : {}),
    ...('metadata' in row ? { metadata: row['metadata'] as FlatMetadata } : {}),
    ...(typeof row['text'] === 'string' ? { text: row['text'] } : {}),
  };
}

export function scored(row: Row, metric: Metric): ScoredVector {
  return { ...fetched(row), score: scoreOf(row['distance'] as number, metric) };
}

/** pgvector's distances as scores: higher is closer. Its inner product is negative already. */
function scoreOf(distance: number, metric: Metric): number {
  switch (metric) {
    case 'cosine':
      return Math.max(-1, Math.min(1, 1 - distance));
    case 'euclidean':
    case 'dot':
      return distance === 0 ? 0 : -distance;
  }
}
