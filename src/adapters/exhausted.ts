/** A decision that others were faster than, as often as there was time for. */
import { ConflictError } from '../errors.js';

export function exhausted(message: string, attempts: number, operation: string): ConflictError {
  return new ConflictError('CONFLICT', `${operation}: ${message}, after ${attempts} tries`, {
    operation,
    retryable: true,
    details: { reason: 'version' },
  });
}
