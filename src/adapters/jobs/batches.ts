/** What one decision about several runs takes: not only so many of them, but also so many bytes, since each is written whole. */

/** Of the runs of one batch: it has room beside them for their events, and for what the decision adds to them. */
const BYTES = 4 * 1_048_576;

/** Runs in their order, in batches of at most `most`; one that is too large for any is a batch by itself. */
export function* inBatches<T>(runs: readonly T[], most: number, bytesOf: (run: T) => number): Generator<T[]> {
  let batch: T[] = [];
  let sum = 0;
  for (const run of runs) {
    const bytes = bytesOf(run);
    if (batch.length === most || (batch.length > 0 && sum + bytes > BYTES)) {
      yield batch;
      batch = [];
      sum = 0;
    }
    batch.push(run);
    sum += bytes;
  }
  if (batch.length > 0) yield batch;
}
