/** What one batch of a store may be, asked before any I/O. */
import type { RecordBackend, Write } from '../backends/backend.js';
import { jsonBytes } from '../backends/value.js';
import { invalid, UnsupportedError } from '../errors.js';

/**
 * @param bound the values have no more bytes together; they are measured only where it decides
 * @throws `VALIDATION` for too many or too large ones, `UNSUPPORTED` where they are not written all or none
 */
export function checkBatch(backend: RecordBackend, writes: readonly Write[], bound: number, operation: string): void {
  const { maxBatchItems, maxBatchBytes, batch } = backend.capabilities;
  if (writes.length > maxBatchItems)
    throw invalid('changes', writes, `at most ${maxBatchItems} records to change at once, not ${writes.length}`);
  if (bound > maxBatchBytes && bytesOf(writes) > maxBatchBytes)
    throw invalid('changes', writes, `at most ${maxBatchBytes} bytes of JSON to change at once`);
  if (writes.length > 1 && batch !== 'atomic')
    throw new UnsupportedError(`${operation}: ${backend.name} has no atomic batches`, { operation });
}

/** What a patch changes is small, and not counted. */
function bytesOf(writes: readonly Write[]): number {
  return writes.reduce((sum, write) => ('value' in write ? sum + jsonBytes(write.value) : sum), 0);
}
