/** The errors of PostgreSQL, by SQLSTATE: shared by the pools that speak to it. */
import {
  ConflictError,
  serializationFailure,
  StorageError,
  type StorageErrorOptions,
  TimeoutError,
  UnavailableError,
} from '../errors.js';

interface DatabaseFault {
  readonly code: string;
  readonly message: string;
  readonly severity: string;
  readonly constraint?: string | undefined;
  /** The function of the server that raised it. */
  readonly routine?: string | undefined;
}

/** Whether `error` came from the server, rather than from the client library or the network. */
export function isDatabaseFault(error: unknown): error is DatabaseFault {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in error;
}

/** Maps a server's error. Its message may quote data, so only `cause` carries it, but for faults of the statement. */
export function fromSqlState(fault: DatabaseFault, component: string, operation?: string): StorageError {
  const { code, constraint } = fault;
  const details = { sqlstate: code, ...(constraint !== undefined && { constraint }) };
  const options: StorageErrorOptions = { component, operation, details, cause: fault };
  switch (code) {
    case '23505':
      return new ConflictError('ALREADY_EXISTS', `The unique constraint ${constraint ?? ''} is violated`, options);
    case '40001':
    case '40P01':
      return serializationFailure(component, fault);
    case '57014':
      return new TimeoutError('The server cancelled the statement', options);
    case '53100':
      return new StorageError('STORAGE_FULL', 'The server has no room left on its disk', options);
    case '25006':
      return new UnavailableError('The server accepts no writes', options);
    case '3D000':
      return new StorageError('CONFIGURATION', 'The server has no database of this name', options);
    case '42501':
      return new StorageError('UNAUTHORIZED', 'The server refused the statement to this user', options);
    default:
      return bySqlClass(fault, options);
  }
}

function bySqlClass(fault: DatabaseFault, options: StorageErrorOptions): StorageError {
  const { code } = fault;
  if (code === '57P01' || code === '57P02')
    return new UnavailableError(
      `The server ended the connection, as it does where it stops or an administrator says so (SQLSTATE ${code})`,
      options,
    );
  if (/^(08|53|57P|55P03)/.test(code))
    return new UnavailableError(`The server cannot serve the statement (SQLSTATE ${code})`, options);
  if (code.startsWith('28')) return new StorageError('UNAUTHORIZED', 'The server refused the credentials', options);
  // Class 42 is about the statement itself: its message names identifiers, never data.
  const reason = code.startsWith('42') ? `: ${fault.message}` : '';
  return new StorageError('INTERNAL', `The server refused the statement (SQLSTATE ${code})${reason}`, options);
}
