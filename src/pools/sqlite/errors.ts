/** The errors of SQLite, by its result codes. Libraries tell them by name, by number, or by their message alone. */
import {
  ConflictError,
  isStorageError,
  StorageError,
  type StorageErrorOptions,
  UnavailableError,
  ValidationError,
} from '../../errors.js';

const CODES = new Map([
  ['SQLITE_ERROR', 1],
  ['SQLITE_PERM', 3],
  ['SQLITE_BUSY', 5],
  ['SQLITE_LOCKED', 6],
  ['SQLITE_NOMEM', 7],
  ['SQLITE_READONLY', 8],
  ['SQLITE_INTERRUPT', 9],
  ['SQLITE_IOERR', 10],
  ['SQLITE_CORRUPT', 11],
  ['SQLITE_FULL', 13],
  ['SQLITE_CANTOPEN', 14],
  ['SQLITE_PROTOCOL', 15],
  ['SQLITE_TOOBIG', 18],
  ['SQLITE_CONSTRAINT', 19],
  ['SQLITE_AUTH', 23],
  ['SQLITE_NOTADB', 26],
]);
const NAMES = new Map([...CODES].map(([name, code]) => [code, name]));

/** SQLite's own texts, for a library that gives nothing else. */
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/constraint failed/, 'SQLITE_CONSTRAINT'],
  [/database is locked/, 'SQLITE_BUSY'],
  [/database table is locked/, 'SQLITE_LOCKED'],
  [/readonly database/, 'SQLITE_READONLY'],
  [/database or disk is full/, 'SQLITE_FULL'],
  [/file is not a database/, 'SQLITE_NOTADB'],
  [/disk image is malformed/, 'SQLITE_CORRUPT'],
  [/unable to open database/, 'SQLITE_CANTOPEN'],
  [/disk I\/O error/, 'SQLITE_IOERR'],
  [/string or blob too big/, 'SQLITE_TOOBIG'],
];

/** The primary result code's name; `undefined` for what is no error of SQLite, also one that was mapped already. */
export function sqliteCode(error: unknown): string | undefined {
  if (isStorageError(error)) return error.details['sqlite'] as string | undefined;
  // Not `instanceof`: what compiled code throws may be of another realm.
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, message, errcode, sqliteCode: own } = error as Readonly<Record<string, unknown>>;
  const number = typeof errcode === 'number' ? errcode : typeof own === 'number' ? own : undefined;
  if (number !== undefined) return NAMES.get(number & 0xff) ?? 'SQLITE_ERROR';
  if (typeof code !== 'string') return undefined;
  if (code.startsWith('SQLITE_')) {
    const [, primary] = /^(SQLITE_[A-Z]+)/.exec(code)!;
    return CODES.has(primary!) ? primary : 'SQLITE_ERROR';
  }
  if (code !== 'ERR_SQLITE_ERROR') return undefined;
  return TEXTS.find(([text]) => text.test(String(message)))?.[1] ?? 'SQLITE_ERROR';
}

/** Whether another connection has the lock: the same may succeed soon. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === 'SQLITE_BUSY' || code === 'SQLITE_LOCKED';
}

export function mapError(error: unknown, component: string, operation: string): StorageError {
  if (isStorageError(error)) return error;
  const code = sqliteCode(error);
  if (code === undefined)
    return new StorageError('INTERNAL', 'SQLite could not run the statement', { component, operation, cause: error });
  const { message } = error as Error;
  const options: StorageErrorOptions = { component, operation, details: { sqlite: code }, cause: error };
  switch (code) {
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return new UnavailableError('Another connection has locked the database', options);
    case 'SQLITE_CONSTRAINT':
      return constraintError(message, options);
    case 'SQLITE_FULL':
      return new StorageError('STORAGE_FULL', 'No room is left for the database', options);
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
      return new UnavailableError('The database file cannot be written', { ...options, retryable: false });
    case 'SQLITE_NOTADB':
      return new StorageError('CONFIGURATION', 'The file is not a SQLite database', options);
    case 'SQLITE_CORRUPT':
      return new StorageError('INTERNAL', 'The database file is damaged', options);
    case 'SQLITE_IOERR':
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_PROTOCOL':
      return new UnavailableError(`The database file cannot be read or written (${code})`, options);
    case 'SQLITE_TOOBIG':
      return new ValidationError('VALIDATION', 'A value is too large for SQLite', options);
    default:
      // About the statement itself: the message names identifiers, never parameters.
      return new StorageError('INTERNAL', `SQLite refused the statement (${code}): ${message}`, options);
  }
}

function constraintError(message: string, options: StorageErrorOptions): StorageError {
  // An index over expressions is named; of others SQLite names the columns.
  const [, index, columns] = /^UNIQUE constraint failed: (?:index '(.*)'|(.*))$/.exec(message) ?? [];
  const constraint = index ?? columns;
  if (constraint === undefined)
    return new StorageError('INTERNAL', 'SQLite refused the statement: a constraint is violated', options);
  return new ConflictError('ALREADY_EXISTS', `The unique constraint ${constraint} is violated`, {
    ...options,
    details: { ...options.details, constraint },
  });
}
