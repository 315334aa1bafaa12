/** Vectors of 1,536 dimensions, the same in every run. */
import type { VectorRecord } from 'quartermaster';

export const DIMENSION = 1_536;

/** mulberry32, between -1 and 1. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

export function records(count: number): (VectorRecord & { readonly vector: Float32Array })[] {
  const random = numbers(1);
  return Array.from({ length: count }, (_, i) => ({
    id: `v${i}`,
    vector: Float32Array.from({ length: DIMENSION }, random),
    metadata: { kind: `k${i % 10}`, rank: i },
  }));
}
