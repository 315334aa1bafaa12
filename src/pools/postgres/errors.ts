/** The errors of PostgreSQL's clients: the server's by SQLSTATE, and those of the way to it. */
import { isStorageError, StorageError, UnavailableError, type ErrorCode } from '../../errors.js';
import type { Address } from './address.js';
import { fromSqlState, isDatabaseFault } from '../sqlstate.js';

/** Whether the connection cannot be used after it. Duplicate keys and the like leave it as it was. */
export function endsConnection(error: unknown): boolean {
  if (isStorageError(error)) return false;
  if (!isDatabaseFault(error)) return true;
  // The severity is in the server's language, so that it may say FATAL in other words.
  return error.severity === 'FATAL' || error.severity === 'PANIC' || /^(08|57P0[1-3])/.test(error.code);
}

/** A server that was demoted: all connections lead to it. */
export function isReadOnly(error: unknown): boolean {
  return isDatabaseFault(error) && error.code === '25006';
}

/** A statement that the server was asked to stop. */
export function isCancelled(error: unknown): boolean {
  return isDatabaseFault(error) && error.code === '57014';
}

/** What the server keeps under a name is gone, or no longer fits its tables; the statement was not run. */
export function isStalePlan(error: unknown): boolean {
  if (!isDatabaseFault(error)) return false;
  // The message may be in any language.
  return error.code === '26000' || (error.code === '0A000' && error.routine === 'RevalidateCachedQuery');
}

/**
 * Whether the server has surely not done what it was asked to do: it said so and is still there, or it said that an
 * administrator ends it, which undoes a statement it had not told to be complete.
 */
export function isRefusal(error: unknown, completed: boolean, alive: boolean): boolean {
  return isDatabaseFault(error) && (alive || (error.code === '57P01' && !completed));
}

/** @param server as it is to be called */
export function mapError(error: unknown, component: string, operation: string, server = 'the server'): StorageError {
  if (isStorageError(error)) return error;
  if (isDatabaseFault(error)) return fromSqlState(error, component, operation);
  const options = { component, operation, cause: error };
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof message === 'string') {
    if (message.startsWith('The server does not support SSL'))
      return new StorageError('CONFIGURATION', 'The server does not speak TLS; ssl.mode asks for it', options);
    if (message.startsWith('SASL'))
      return new StorageError('UNAUTHORIZED', 'The server asks for a password that it was not given', options);
  }
  if (typeof code === 'string' && /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|^ERR_(SSL|TLS|OSSL)/.test(code))
    return new StorageError('CONFIGURATION', `TLS with the server failed (${code})`, options);
  const reason = typeof code === 'string' ? code : isClosed(message) ? 'closed by the other side' : undefined;
  return new UnavailableError(
    `The connection to ${server} failed${reason === undefined ? '' : ` (${reason})`}`,
    options,
  );
}

/** In the words of `pg`: a peer that is no PostgreSQL, or a proxy without one behind it, ends what it does not know. */
function isClosed(message: unknown): boolean {
  return typeof message === 'string' && message.startsWith('Connection terminated');
}

/** What a server says to who connects: in the words of statements it would send the reader after something else. */
const CONNECTING: Readonly<Record<string, readonly [ErrorCode, (server: string) => string]>> = {
  '28000': [
    'UNAUTHORIZED',
    (server) =>
      `${server} refuses this user, host or unencrypted connection (pg_hba.conf; the user's right to log in; ssl.mode)`,
  ],
  '28P01': ['UNAUTHORIZED', (server) => `${server} refuses the password of the user`],
  '53300': [
    'UNAVAILABLE',
    (server) => `${server} has no connection left (max_connections, or the limit of the user or of the database)`,
  ],
  '57P03': ['UNAVAILABLE', (server) => `${server} is starting, recovering or stopping, and takes no connections yet`],
};

/** The name of the database may not be in the server's own words, and the way to it is in nobody's. */
export function mapConnectError(error: unknown, component: string, address: Address): StorageError {
  const { database } = address;
  if (isDatabaseFault(error) && error.code === '3D000')
    return new StorageError('CONFIGURATION', `The server has no database ${JSON.stringify(database ?? '')}`, {
      component,
      operation: 'open',
      details: { sqlstate: error.code, database },
      cause: error,
    });
  // Nothing was asked for yet: the database takes no connections for a while, as one that is restored or made a template.
  if (isDatabaseFault(error) && error.code === '55000')
    return new UnavailableError(`The database ${JSON.stringify(database ?? '')} takes no connections`, {
      component,
      operation: 'open',
      details: { sqlstate: error.code, database },
      cause: error,
    });
  if (isDatabaseFault(error) && error.code === '08P01' && error.message.includes('startup parameter'))
    return new StorageError('CONFIGURATION', "A pooler refuses the session's settings: say pooler: 'transaction'", {
      component,
      operation: 'open',
      details: { sqlstate: error.code },
      cause: error,
    });
  const refusal = isDatabaseFault(error) ? CONNECTING[error.code] : undefined;
  if (refusal === undefined) return mapError(error, component, 'open', serverAt(address));
  const [code, message] = refusal;
  const details = { sqlstate: (error as { code: string }).code };
  const options = { component, operation: 'open', details, cause: error };
  const text = message(`The server ${serverAt(address)}`);
  return code === 'UNAVAILABLE' ? new UnavailableError(text, options) : new StorageError(code, text, options);
}

/** The server of an address: its host, with its port or as a directory of sockets. */
export function serverAt({ host, port }: Pick<Address, 'host' | 'port'>): string {
  return host.startsWith('/') ? `${host}/.s.PGSQL.${port}` : `${host}:${port}`;
}
