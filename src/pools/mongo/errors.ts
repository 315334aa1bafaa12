/** The errors of the MongoDB client and its servers, as the library's own. */
import type { MongoBulkWriteError } from 'mongodb';
import {
  ConflictError,
  isStorageError,
  serializationFailure,
  StorageError,
  type StorageErrorOptions,
  TimeoutError,
  UnavailableError,
  UnsupportedError,
} from '../../errors.js';

/** What a server said, whichever class of the client wraps it. */
export interface ServerFault {
  readonly code: number;
  readonly message: string;
}

const UNAUTHORIZED = new Set([11, 13, 18, 8_000]);
const TIMED_OUT = new Set([50, 262]);
/** Stepping down, shutting down, no primary, a member of the cluster that cannot be reached. */
const UNAVAILABLE = new Set([
  6, 7, 89, 91, 133, 189, 202, 384, 462, 9_001, 10_058, 10_107, 11_600, 11_602, 13_435, 13_436,
]);
/** Of them, those that a server which is no primary says before it begins. */
const NOT_PRIMARY = new Set([10_058, 10_107, 13_435, 13_436]);
const DISK_FULL = 14_031;
const DUPLICATE = new Set([11_000, 11_001, 12_582]);
/**
 * Write conflict, lock timeout, no such transaction, transaction too old, a chunk or a catalogue that moved; a deadlock and
 * a serialization failure of the PostgreSQL beneath FerretDB, as it packs their SQLSTATE.
 */
const LOST = new Set([24, 112, 225, 244, 246, 251, 13_388, 16_777_220, 16_908_292]);
const UNKNOWN_COMMAND = new Set([20, 59, 115, 238, 263]);
const WRITE_CONCERN = new Set([64, 75]);

/** The client's own errors when it has no server, or lost the one it had. */
const NETWORK = new Set([
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerSelectionError',
  'MongoWaitQueueTimeoutError',
  'MongoPoolClearedError',
  'MongoPoolClosedError',
  'PoolClearedOnNetworkError',
  'MongoNotConnectedError',
  'MongoTopologyClosedError',
  'MongoServerClosedError',
  'MongoClientClosedError',
  'MongoExpiredSessionError',
  'MongoUnexpectedServerResponseError',
]);

const LOST_ANSWER = new Set(['MongoNetworkError', 'MongoNetworkTimeoutError', 'PoolClearedOnNetworkError']);

function serverFault(error: unknown): ServerFault | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as { code?: unknown };
  return typeof code === 'number' ? { code, message: error.message } : undefined;
}

/** The index that a duplicate key was found in (`_id_`: the id), `''` when the server does not say; else `undefined`. */
export function duplicateIndex(error: unknown): string | undefined {
  const fault = serverFault(error);
  if (fault === undefined) return undefined;
  // FerretDB's findAndModify tells of the PostgreSQL beneath it.
  if (fault.code === 1 && fault.message.includes('exclusion constraint')) return '';
  if (!DUPLICATE.has(fault.code)) return undefined;
  const [, name, quoted] = /\bindex: (?:\S+\.\$)?(\S+)|\bIndex '([^']+)'/.exec(fault.message) ?? [];
  return name ?? quoted ?? '';
}

export function hasLabel(error: unknown, label: string): boolean {
  const { errorLabels } = (error ?? {}) as { errorLabels?: unknown };
  return Array.isArray(errorLabels) && errorLabels.includes(label);
}

/** What went wrong under a bulk write: the client wraps the loss of its connection as it does the server's own faults. */
function unwrapped(error: unknown): unknown {
  const { name, errorResponse } = (error ?? {}) as { name?: unknown; errorResponse?: unknown };
  return name === 'MongoBulkWriteError' && errorResponse instanceof Error ? errorResponse : error;
}

/** Whether the server says that it made the write, but not that a majority has it: its code may be that of any fault. */
function isUnconfirmed(error: unknown): boolean {
  const { name, writeErrors, result } = (error ?? {}) as Partial<MongoBulkWriteError>;
  if (name !== 'MongoBulkWriteError') return name === 'MongoWriteConcernError';
  return [writeErrors ?? []].flat().length === 0 && result?.getWriteConcernError() !== undefined;
}

export function isNetworkFault(error: unknown): boolean {
  const fault = unwrapped(error);
  return fault instanceof Error && NETWORK.has(fault.name);
}

/** Whether another connection, or another server, may answer the same question. */
export function isPassing(error: unknown): boolean {
  const fault = serverFault(error);
  return isNetworkFault(error) || (fault !== undefined && UNAVAILABLE.has(fault.code));
}

/** Whether the server may have done a part of a statement for many records before it stopped. */
export function isStoppedHalfWay(error: unknown): boolean {
  const fault = serverFault(error);
  if (fault === undefined || !UNAVAILABLE.has(fault.code)) return false;
  // Of a statement for several servers one may have refused its part.
  const { errorResponse } = error as { errorResponse?: { ok?: unknown } };
  return !(NOT_PRIMARY.has(fault.code) && errorResponse?.ok === 0);
}

/** Whether the server may have done what it was asked, though no answer came. */
export function isLostAnswer(given: unknown): boolean {
  const error = unwrapped(given);
  if (isSystemFault(error)) return (error as { code: string }).code !== 'ECONNREFUSED';
  if (!(error instanceof Error) || !LOST_ANSWER.has(error.name)) return false;
  // The client labels so what happens before a connection is there.
  return !hasLabel(error, 'HandshakeError') && !hasLabel(error, 'SystemOverloadedError');
}

export function mapError(given: unknown, component: string, operation?: string): StorageError {
  if (isStorageError(given)) return given;
  const error = isNetworkFault(given) ? unwrapped(given) : given;
  const options: StorageErrorOptions = { component, operation, cause: error };
  if (isUnconfirmed(error))
    return new StorageError(
      'OUTCOME_UNKNOWN',
      'The write was made, but not confirmed by a majority of the servers',
      options,
    );
  const fault = serverFault(error);
  if (fault !== undefined) return byCode(fault, options, error);
  const { name, cause } = (error ?? {}) as { name?: unknown; cause?: unknown };
  // The search for a server ends with what the last of them said.
  const refused = serverFault(cause);
  if (refused !== undefined && UNAUTHORIZED.has(refused.code)) return byCode(refused, options, error);
  if (isNetworkFault(error) || isSystemFault(error))
    return new UnavailableError('The server cannot be reached', {
      ...options,
      details: { reason: typeof name === 'string' ? name : undefined },
    });
  if (typeof name === 'string' && /^Mongo(Parse|InvalidArgument|MissingCredentials|API|Compatibility)/.test(name))
    return new StorageError(
      'CONFIGURATION',
      `The client refused the URL, its options or the server (${name})`,
      options,
    );
  return new StorageError('INTERNAL', 'The client could not run the operation', options);
}

function byCode({ code }: ServerFault, options: StorageErrorOptions, error: unknown): StorageError {
  const { codeName } = error as { codeName?: unknown };
  const named = typeof codeName === 'string' ? `${code} ${codeName}` : String(code);
  const told = { ...options, details: { code } };
  const index = duplicateIndex(error);
  if (index !== undefined)
    return new ConflictError('ALREADY_EXISTS', `The unique index ${index} has the key already`, {
      ...told,
      details: { code, index },
    });
  // The server asks for the whole transaction again, whatever the code.
  if (LOST.has(code) || hasLabel(error, 'TransientTransactionError'))
    return serializationFailure(options.component ?? '', error);
  if (UNAUTHORIZED.has(code))
    return new StorageError('UNAUTHORIZED', `The server refused the credentials, or the right (code ${named})`, told);
  if (TIMED_OUT.has(code)) return new TimeoutError('The server ended the operation at its time limit', told);
  if (code === DISK_FULL) return new StorageError('STORAGE_FULL', 'The server has no room left on its disk', told);
  if (UNAVAILABLE.has(code)) return new UnavailableError(`The server cannot serve the operation (code ${named})`, told);
  if (WRITE_CONCERN.has(code))
    return new StorageError(
      'OUTCOME_UNKNOWN',
      'The write was made, but not confirmed by a majority of the servers',
      told,
    );
  if (UNKNOWN_COMMAND.has(code))
    return new UnsupportedError(`The server does not support the operation (code ${named})`, told);
  return new StorageError('INTERNAL', `The server refused the operation (code ${named})`, told);
}

/** An error of the socket or of the name service that the client passed on as it was. */
export function isSystemFault(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' && /^(E[A-Z]{3,}|[A-Z]*NOTFOUND|EAI_AGAIN)$/.test(code);
}

export function unsupported(message: string, component: string): UnsupportedError {
  return new UnsupportedError(message, { component, operation: 'transaction' });
}
