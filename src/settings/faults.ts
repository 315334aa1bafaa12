/** What is wrong with the settings: all of it, told at once. */
import { StorageError } from '../errors.js';

export interface Fault {
  readonly key: string;
  readonly expected: string;
  /** The value's type, never the value. */
  readonly actual: string;
  readonly source: string;
}

/** @throws `CONFIGURATION` with every fault in the message and in `details.faults`. */
export function throwFaults(faults: readonly Fault[]): void {
  if (faults.length === 0) return;
  const lines = faults.map(
    ({ key, expected, actual, source }) => `  ${key}: expected ${expected}, got ${actual} (${source})`,
  );
  throw new StorageError(
    'CONFIGURATION',
    `The settings have ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n${lines.join('\n')}`,
    {
      operation: 'open',
      details: { faults },
    },
  );
}
