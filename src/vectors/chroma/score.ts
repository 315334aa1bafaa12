/** Metrics as the server knows them, and its distances as scores. */
import type { Metric } from '../provider.js';

export type Space = 'cosine' | 'l2' | 'ip';

const SPACES: Readonly<Record<Metric, Space>> = { cosine: 'cosine', euclidean: 'l2', dot: 'ip' };

export function spaceOf(metric: Metric): Space {
  return SPACES[metric];
}

/** The server gives 1 minus the cosine, the square of the distance, and 1 minus the inner product. */
export function scoreOfDistance(metric: Metric, distance: number): number {
  // A distance of 0 may come out of a rounded sum a little below it.
  return metric === 'euclidean' ? -Math.sqrt(Math.max(0, distance)) : 1 - distance;
}
