/** Random bytes, asked for many at a time: each asking takes longer than all else of an id. */
import { randomFillSync } from 'node:crypto';
import { invalid } from '../errors.js';

const POOL = Buffer.alloc(4_096);
let used = POOL.length;

/** @param count at most 4,096. What is given stands until the next call: copy what is kept. */
export function takeRandom(count: number): Buffer {
  if (count > POOL.length) throw invalid('count', count, `at most ${POOL.length} bytes`);
  if (used + count > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  return POOL.subarray(used, (used += count));
}
