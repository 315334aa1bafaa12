/** What providers answer, as a host gets it. */
import { compareText } from '../../filter/evaluate.js';
import { decodeMetadata } from '../codec/metadata.js';
import { clampCosine } from '../codec/score.js';
import type { FetchedVector, ScoredVector, VectorInclude, VectorSchema } from '../provider.js';
import type { FetchedRecord, VectorHit } from './options.js';

export function decodeVector<M>(
  vector: FetchedVector,
  { fields, dimension }: VectorSchema,
  include: VectorInclude,
): FetchedRecord<M> {
  return {
    id: vector.id,
    ...(include.vector && vector.vector !== undefined && dimension > 0 ? { vector: vector.vector } : {}),
    ...(include.vector && vector.sparse !== undefined ? { sparse: vector.sparse } : {}),
    ...(include.metadata ? { metadata: decodeMetadata(vector.metadata ?? {}, fields) as M } : {}),
    ...(include.text && vector.text !== undefined ? { text: vector.text } : {}),
  };
}

interface Scale {
  /** Inclusive. */
  readonly minScore: number | undefined;
  /** Whether the scores are those of the metric. */
  readonly isScaled: boolean;
}

/** The closest first, ties by the code points of their ids. */
export function decodeHits<M>(
  found: readonly ScoredVector[],
  schema: VectorSchema,
  include: VectorInclude,
  { minScore, isScaled }: Scale,
): VectorHit<M>[] {
  return found
    .map((hit) => ({
      ...decodeVector<M>(hit, schema, include),
      score: isScaled ? finalScore(hit.score, schema) : hit.score,
    }))
    .filter(({ score }) => minScore === undefined || score >= minScore)
    .sort((a, b) => b.score - a.score || compareText(a.id, b.id));
}

function finalScore(score: number, { metric }: VectorSchema): number {
  const clamped = metric === 'cosine' ? clampCosine(score) : score;
  return clamped === 0 ? 0 : clamped;
}
