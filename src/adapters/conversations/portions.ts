/** Records cut so that each portion can be written as one batch. */
import { jsonBytes } from '../../backends/value.js';
import type { StoredRecord } from '../../collection/record-codec.js';

/** Of the values of one batch, well below what a batch may have. */
export const BATCH_BYTES = 2_000_000;

/** In their order. One that is large by itself is a portion of its own. */
export function portionsOf<T>(records: readonly StoredRecord<T>[]): StoredRecord<T>[][] {
  const portions: StoredRecord<T>[][] = [];
  let bytes = Infinity;
  for (const record of records) {
    const own = jsonBytes(record.value as object);
    bytes += own;
    if (bytes <= BATCH_BYTES) {
      portions.at(-1)!.push(record);
      continue;
    }
    portions.push([record]);
    bytes = own;
  }
  return portions;
}
