/**
 * The pool as a `pg.Pool`, for the libraries of the host (`storage.sql()`): the connections are ours, and so are the limit,
 * the wait and what becomes of a connection that comes back.
 */
import { isStorageError } from '../../errors.js';
import type { PoolFigures } from '../pool.js';
import type { Connection } from './connection.js';
import type { Connections } from './connections.js';
import { endsConnection, mapError } from './errors.js';
import type { Client, ConnectCallback, HostPool, Library } from './library.js';
import { limitsStatements, type PostgresOptions } from './settings.js';
import { Statement } from './statement.js';

/** DISCARD ALL without the plans, which are ours; it would also refuse to stand with other statements. */
const CLEAN =
  'ROLLBACK; CLOSE ALL; UNLISTEN *; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DISCARD TEMP; ' +
  'SELECT pg_advisory_unlock_all()';

/** The limit for the library's statements is none for those of the host. */
const NO_LIMIT = 'SET statement_timeout = 0';
/** How long the server may take to say that it is so, in milliseconds. */
const ANSWER = 5_000;

export interface HostPoolOptions {
  /** A pooler is in between: the session is not ours to clean. */
  readonly pooled: boolean;
  /** Whether the server's limit for a statement is one that the settings say. */
  readonly limited: boolean;
}

export function hostPoolOptions(options: PostgresOptions): HostPoolOptions {
  return { pooled: options.pooler === 'transaction', limited: limitsStatements(options) };
}

export function createHostPool(library: Library, connections: Connections, options: HostPoolOptions): HostPool {
  class SharedPool extends library.Pool {
    override connect(): Promise<Client>;
    override connect(callback: ConnectCallback): void;
    override connect(callback?: ConnectCallback): Promise<Client> | void {
      if (this.ending) return refuse(callback);
      const lent = lend(connections, options);
      if (callback === undefined) return lent;
      // Out of the promise, so that what the callback throws is its caller's.
      lent.then(
        (client) => process.nextTick(callback, undefined, client, client.release),
        (error: unknown) => process.nextTick(callback, error, undefined, () => undefined),
      );
    }

    /** Ends this object; the connections are the manager's, which closes them. */
    override end(callback?: () => void): Promise<void> {
      this.ending = this.ended = true;
      callback?.();
      return Promise.resolve();
    }
  }
  const pool = new SharedPool({ max: connections.figures().max });
  const figure = (name: keyof PoolFigures): PropertyDescriptor => ({ get: () => connections.figures()[name] });
  return Object.defineProperties(pool, {
    totalCount: figure('size'),
    idleCount: figure('idle'),
    waitingCount: figure('waiting'),
  });
}

function refuse(callback: ConnectCallback | undefined): Promise<Client> {
  const error = new Error('Cannot use a pool after calling end on the pool');
  callback?.(error, undefined, () => undefined);
  return callback === undefined ? Promise.reject(error) : (undefined as never);
}

async function lend(connections: Connections, options: HostPoolOptions): Promise<Client> {
  const connection = await connections.acquire({ deadline: Infinity });
  if (!options.pooled && !options.limited && connection.statementTimeout < Infinity)
    await liftLimit(connections, connection);
  const { client } = connection;
  let released = false;
  client.release = (destroy) => {
    if (released) throw new Error('Release called on client which has already been released to the pool.');
    released = true;
    giveBack(connections, connection, options, destroy);
  };
  return client;
}

async function liftLimit({ clock, component }: Connections, connection: Connection): Promise<void> {
  const statement = new Statement(NO_LIMIT);
  statement.deadline = clock.monotonic() + ANSWER;
  try {
    await connection.run(statement);
    connection.statementTimeout = Infinity;
  } catch (error) {
    connection.discard();
    throw mapError(error, component, 'sql');
  }
}

function giveBack(
  connections: Connections,
  connection: Connection,
  { pooled, limited }: HostPoolOptions,
  destroy: Error | boolean | undefined,
): void {
  // `pool.query` gives each error of the server as a reason; most leave the connection as it was.
  if (destroy === true || (destroy instanceof Error && !isStorageError(destroy) && endsConnection(destroy)))
    connection.discard();
  else if (pooled) connections.release(connection);
  else if (limited) void connections.clean(connection, CLEAN, connections.openings.statementTimeout);
  // The next use may be the host's again.
  else void connections.clean(connection, `${CLEAN}; ${NO_LIMIT}`, Infinity);
}
