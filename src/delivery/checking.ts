/** Runs an operation up to its first touch of a database: what its arguments are refused for is refused then. */
import { StorageError } from '../errors.js';

const REACHED = new Error('The operation was about to begin');

/** To be called where I/O would begin. */
export function reached(): never {
  throw REACHED;
}

/** @throws what the operation makes of its arguments */
export async function checkCall(operation: string, call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (error === REACHED) return;
    throw error;
  }
  throw new StorageError('INTERNAL', `${operation} ended without touching its database`, { operation });
}
