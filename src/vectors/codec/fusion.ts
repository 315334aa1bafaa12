/**
 * Reciprocal rank fusion: a record's score is the sum of 1 / (60 + rank) over the lists it is in, ranks from 1. Cormack,
 * Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009.
 */
import { compareText } from '../../filter/evaluate.js';
import type { ScoredVector } from '../provider.js';

const K = 60;

/** How much of each list is looked at for `topK` records. */
export function fusionDepth(topK: number, maxTopK: number): number {
  return Math.min(maxTopK, Math.max(50, 5 * topK));
}

export function fuse(lists: readonly (readonly ScoredVector[])[]): ScoredVector[] {
  const fused = new Map<string, ScoredVector>();
  for (const list of lists)
    for (const [i, hit] of [...list].sort((a, b) => b.score - a.score || compareText(a.id, b.id)).entries())
      fused.set(hit.id, { ...hit, score: (fused.get(hit.id)?.score ?? 0) + 1 / (K + i + 1) });
  return [...fused.values()];
}
