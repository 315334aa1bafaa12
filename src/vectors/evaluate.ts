/** What filters and scores mean, for providers that work them out in the process; every other one must answer as this does. */
import { evaluate, type Subject } from '../filter/evaluate.js';
import type { CompiledFilter, FlatMetadata, Metric } from './provider.js';

export function evaluateFilter(filter: CompiledFilter, metadata: FlatMetadata): boolean {
  return evaluate(filter.tree, metadataSubject(metadata));
}

/** Metadata as a filter sees them: flat, so that the path of an object names nothing. */
function metadataSubject(metadata: FlatMetadata): Subject {
  return {
    get(field) {
      const key = field.path.join('.');
      return Object.hasOwn(metadata, key) ? metadata[key] : undefined;
    },
    words: () => new Set(),
  };
}

/** Higher is closer: the cosine, minus the distance, the inner product; summed in float64. */
export function vectorScore(metric: Metric, a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  let squares = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    dot += x * y;
    aa += x * x;
    bb += y * y;
    squares += (x - y) * (x - y);
  }
  switch (metric) {
    case 'dot':
      return dot;
    case 'euclidean':
      return squares === 0 ? 0 : -Math.sqrt(squares);
    case 'cosine':
      return Math.max(-1, Math.min(1, dot / Math.sqrt(aa) / Math.sqrt(bb)));
  }
}
