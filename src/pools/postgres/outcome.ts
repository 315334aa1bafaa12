/** What became of a statement that got no answer: whether the server may have done it. */
import { isStorageError, serializationFailure, StorageError } from '../../errors.js';
import type { Connection } from './connection.js';
import { isCancelled, isRefusal, isStalePlan, mapError } from './errors.js';
import type { Statement } from './statement.js';

/** What may hold any word: strings (also with escapes, also between dollars) and quoted names. A comment ends none. */
const QUOTED =
  /--[^\n]*|(?<![\w$])e'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])\$((?:[a-z_]\w*)?)\$.*?\$\1\$/gis;
const READS = /^\s*(SELECT|WITH|VALUES|SHOW|EXPLAIN)\b(?!.*\b(INSERT|UPDATE|DELETE|MERGE|nextval|INTO)\b)/is;

/** Of a statement outside of transactions, which commits by itself. */
export function statementFault(
  error: unknown,
  statement: Statement,
  connection: Connection,
  component: string,
  operation: string,
): StorageError {
  const fault = mapError(error, component, operation);
  // A deadline or a signal says itself that nobody knows.
  const isCut = isStorageError(error) && !['UNAVAILABLE', 'CLOSED'].includes(error.code);
  if (isCut || connection.endedBy === undefined || !mayBeDone(error, statement, connection)) return fault;
  return reads(statement.text) ? fault : unknown('The reply to the statement was lost', error, component, operation);
}

export function sessionFault(
  error: unknown,
  connection: Connection,
  component: string,
  operation: string,
): StorageError {
  if (!isStalePlan(error)) return mapError(error, component, operation);
  connection.obsolete = true;
  // Run again as a whole, on another connection, the transaction finds no old plan.
  return serializationFailure(component, error);
}

export function commitFault(
  error: unknown,
  statement: Statement,
  connection: Connection,
  component: string,
): StorageError {
  if (!mayBeDone(error, statement, connection))
    return isCancelled(error) && statement.stopped !== undefined
      ? statement.stopped
      : sessionFault(error, connection, component, 'transaction');
  return unknown('The reply to the commit was lost', error, component, 'transaction');
}

/** Only what surely reads: a statement with a longer comment, which may be within another, is none of these. */
function reads(text: string): boolean {
  const bare = text.replace(QUOTED, (quoted) => (quoted.startsWith('--') ? quoted : "''"));
  return !bare.includes('/*') && READS.test(bare);
}

function mayBeDone(error: unknown, statement: Statement, connection: Connection): boolean {
  return statement.sent && !isRefusal(error, statement.completed, connection.endedBy === undefined);
}

function unknown(message: string, cause: unknown, component: string, operation: string): StorageError {
  return new StorageError('OUTCOME_UNKNOWN', `${message}: it may have been done`, { component, operation, cause });
}
