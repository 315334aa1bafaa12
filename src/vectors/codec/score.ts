/** Scores: higher is closer. In float64, from float32 data: what every provider's scores are measured against. */
import type { Metric } from '../provider.js';

export function scoreOf(metric: Metric, a: Float32Array, b: Float32Array): number {
  switch (metric) {
    case 'cosine':
      return clampCosine(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)));
    case 'euclidean':
      return -distance(a, b);
    case 'dot':
      return dot(a, b);
  }
}

/** A cosine may come out of a rounded sum a little beyond 1. */
export function clampCosine(cosine: number): number {
  return Math.min(1, Math.max(-1, cosine));
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum);
}
