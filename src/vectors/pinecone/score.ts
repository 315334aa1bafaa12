/** Metrics by the service's names, and its scores as ours. */
import { clampCosine } from '../codec/score.js';
import type { Metric } from '../provider.js';

export const METRIC_NAMES = { cosine: 'cosine', euclidean: 'euclidean', dot: 'dotproduct' } as const;

export function readScore(metric: Metric, score: number): number {
  switch (metric) {
    case 'cosine':
      return clampCosine(score);
    case 'euclidean':
      // The service answers with the square of the distance. Never -0, which is no 0 to a strict comparison.
      return score <= 0 ? 0 : -Math.sqrt(score);
    case 'dot':
      return score;
  }
}
