/** What is wrong with the settings: all of it, told at once. */
import { StorageError } from '../errors.js';

export interface Fault {
  readonly key: string;
  readonly expected: string;
  /** The value's type, never the value. */
  readonly actual: string;
  readonly source: string;
}

/** A path for a message. A segment that is no name may be a URL written in the wrong place, and is not repeated. */
export function shownKey(path: readonly string[]): string {
  return path.map((segment) => (/^[\w-]{1,64}$/.test(segment) ? segment : '(not a name)')).join('.');
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
