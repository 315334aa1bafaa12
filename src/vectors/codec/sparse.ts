/** Sparse vectors: the components that are not zero, by the numbers of their dimensions. */
import { types } from 'node:util';
import { invalid, ValidationError } from '../../errors.js';
import type { StoredSparse } from '../provider.js';
import { VECTOR_LIMITS as LIMITS } from './limits.js';
import { checkKeys, checkNorm, checkWhole } from './values.js';

/**
 * A sparse vector as providers get it: a copy in float32, by ascending indices.
 * @throws `VALIDATION` for what is no list of components, an index twice, a value that is not finite in float32, and a
 * length that is zero, or beyond what servers can square.
 */
export function checkSparse(sparse: unknown, key: string): StoredSparse {
  const { indices, values } = checkKeys(sparse, key, ['indices', 'values']);
  if (!Array.isArray(indices) && !types.isUint32Array(indices))
    throw invalid(`${key}.indices`, indices, 'an array of whole numbers or a Uint32Array');
  if (!Array.isArray(values) && !types.isFloat32Array(values))
    throw invalid(`${key}.values`, values, 'an array of numbers or a Float32Array');
  const count = indices.length;
  if (count === 0 || count > LIMITS.sparseValues)
    throw new ValidationError('VALIDATION', `${key}.indices: expected 1 to ${LIMITS.sparseValues}, got ${count}`, {
      details: { key: `${key}.indices`, actual: count },
    });
  if (values.length !== count)
    throw new ValidationError(
      'VALIDATION',
      `${key}.values: expected ${count} numbers, one for each index, got ${values.length}`,
      { details: { key: `${key}.values`, actual: values.length } },
    );
  const components = Array.from(indices as ArrayLike<unknown>, (index, i): readonly [number, number] => [
    checkWhole(index, `${key}.indices[${i}]`, 0, LIMITS.sparseIndex),
    checkFloat(values[i], `${key}.values[${i}]`),
  ]).sort(([a], [b]) => a - b);
  for (const [i, [index]] of components.entries())
    if (index === components[i - 1]?.[0]) throw invalid(`${key}.indices`, index, 'each index once');
  checkNorm(Math.sqrt(components.reduce((sum, [, value]) => sum + value * value, 0)), key);
  return {
    indices: Uint32Array.from(components, ([index]) => index),
    values: Float32Array.from(components, ([, value]) => value),
  };
}

function checkFloat(value: unknown, key: string): number {
  if (typeof value !== 'number') throw invalid(key, value, 'a number');
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) throw invalid(key, value, 'a number that is finite in float32');
  // The sum is 0 for both zeros.
  return rounded + 0;
}

export function copySparse({ indices, values }: StoredSparse): StoredSparse {
  return { indices: new Uint32Array(indices), values: new Float32Array(values) };
}

/** The inner product; 0 where one of them is not there. */
export function sparseDot(a: StoredSparse | undefined, b: StoredSparse | undefined): number {
  let sum = 0;
  if (a === undefined || b === undefined) return sum;
  for (let i = 0, j = 0; i < a.indices.length && j < b.indices.length;) {
    const order = a.indices[i]! - b.indices[j]!;
    if (order === 0) sum += a.values[i]! * b.values[j]!;
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
  return sum;
}
