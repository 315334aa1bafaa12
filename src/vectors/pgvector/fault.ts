/** The server's errors that mean something about a collection. */
import { isSerializationFailure, isStorageError, NotFoundError, reworded, type StorageError } from '../../errors.js';

/** Serialization failure, deadlock, duplicate key, duplicate table, duplicate object. */
export const LOST_RACES: ReadonlySet<string> = new Set(['40001', '40P01', '23505', '42P07', '42710']);

const PROGRAM_LIMIT_EXCEEDED = '54000';

/** The SQLSTATE of an error of the pool. */
export function sqlState(error: unknown): string | undefined {
  if (!isStorageError(error)) return undefined;
  const state = error.details['sqlstate'];
  if (typeof state === 'string') return state;
  return isSerializationFailure(error) ? '40001' : undefined;
}

/**
 * An index that is beyond what the server may take, told in the server's words. Those of the same SQLSTATE about texts quote
 * them, so that the pool shows none.
 */
export function buildFault(error: unknown): unknown {
  if (!isStorageError(error) || sqlState(error) !== PROGRAM_LIMIT_EXCEEDED) return error;
  const { cause } = error;
  return cause instanceof Error ? reworded(error, `${error.message}: ${cause.message}`, { cause }) : error;
}

/** A table that is not there is a collection that is not: dropped, or made anew, since it was asked for. */
export function collectionFault(
  error: unknown,
  earlier: StorageError | undefined,
  collection: string,
  component: string,
): unknown {
  // A transaction that has failed answers everything with its failure, which may be about another table.
  if (error === earlier || sqlState(error) !== '42P01') return error;
  return new NotFoundError(`There is no vector collection ${collection}`, {
    component,
    details: { collection },
    cause: error,
  });
}
