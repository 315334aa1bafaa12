/** The errors of PGlite: PostgreSQL's by SQLSTATE, and those of the engine around it. */
import { isStorageError, StorageError } from '../../errors.js';
import { fromSqlState, isDatabaseFault } from '../sqlstate.js';

// ENOSPC in the numbering of the engine's C library.
const ENOSPC = 51;

export function mapError(error: unknown, component: string, operation: string): StorageError {
  if (isStorageError(error)) return error;
  if (!isDatabaseFault(error))
    return new StorageError('INTERNAL', 'PGlite could not run the statement', { component, operation, cause: error });
  // PGlite adds the parameters to its errors: they are data, and may be secrets.
  Object.assign(error, { params: undefined, queryOptions: undefined });
  return fromSqlState(error, component, operation);
}

/** After these PostgreSQL ends its process; PGlite instead loops for ever over the next statement. */
export function stopsTheEngine(error: unknown): boolean {
  return isDatabaseFault(error) && (error.severity === 'PANIC' || error.severity === 'FATAL');
}

export function isDiskFull(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as { errno?: unknown }).errno === ENOSPC;
}
