/**
 * How an index keeps the vectors of a collection. pgvector's HNSW indexes up to 2,000 dimensions of the type `vector`, 4,000
 * of `halfvec` and 64,000 of `bit`; what is kept by fewer bits finds candidates, which are then ordered by the whole vectors.
 */
import { UnsupportedError } from '../../errors.js';
import type { VectorSchema } from '../provider.js';

export type Precision = 'full' | 'half' | 'bit';

const MAX_DIMENSION: Readonly<Record<Precision, number>> = { full: 2_000, half: 4_000, bit: 64_000 };

/**
 * Candidates for each row asked for. Measured on 2,048 and 3,072 dimensions by halves (recall@10 of .997) and on 5,000 by
 * bits (1.0 from four times on; at forty times the planner no longer takes the index).
 */
const CANDIDATES: Readonly<Record<Precision, number>> = { full: 1, half: 4, bit: 10 };

/** The greatest and the smallest normal number of a half: https://en.wikipedia.org/wiki/Half-precision_floating-point_format */
const HALF_MAX = 65_504;
const HALF_MIN = 2 ** -14;

/** @throws `UNSUPPORTED` for an index that pgvector cannot make, before any I/O. */
export function precisionOf({ dimension, metric, index }: VectorSchema, component?: string): Precision | 'none' {
  if (index.kind === 'none') return 'none';
  const asked = index.kind === 'hnsw' ? (index.quantize ?? 'auto') : 'auto';
  const refuse = (reason: string): UnsupportedError =>
    new UnsupportedError(`index: ${reason}; say index: { kind: 'none' } for exact search`, { component });
  const precision = asked === 'auto' ? byDimension(dimension) : asked;
  if (dimension > MAX_DIMENSION[precision])
    throw refuse(`pgvector indexes at most ${MAX_DIMENSION[precision]} dimensions by ${precision}, not ${dimension}`);
  if (index.kind === 'ivfflat' && precision !== 'full')
    throw refuse(`ivfflat is made of at most ${MAX_DIMENSION.full} dimensions, not ${dimension}`);
  // The signs of the components tell of a direction, neither of a distance nor of a length.
  if (asked === 'auto' && precision === 'bit' && metric !== 'cosine')
    throw refuse(
      `above ${MAX_DIMENSION.half} dimensions vectors are indexed by their signs, which suits ${metric} only where they have about one length (then say quantize: 'bit')`,
    );
  return precision;
}

function byDimension(dimension: number): Precision {
  if (dimension <= MAX_DIMENSION.full) return 'full';
  return dimension <= MAX_DIMENSION.half ? 'half' : 'bit';
}

/** How many rows the index is asked for. */
export function candidates(precision: Precision, topK: number): number {
  return CANDIDATES[precision] * topK;
}

/** What keeps a vector out of the index of its collection. */
export function vectorFault(schema: VectorSchema, vector: Float32Array): string | undefined {
  if (precisionOf(schema) !== 'half') return undefined;
  let greatest = 0;
  for (const component of vector) greatest = Math.max(greatest, Math.abs(component));
  if (greatest > HALF_MAX) return `has a component beyond ${HALF_MAX}, which the index by half precision cannot hold`;
  // Smaller ones keep few bits or none: by cosine and by inner product all would be alike, by distance all that are small.
  if (greatest < HALF_MIN)
    return `has no component of at least ${HALF_MIN}, so that half precision, which the index has, would lose its direction`;
  return undefined;
}
