/**
 * The pool as a `pg.Pool`, for the libraries of the host (`storage.sql()`): the connections are ours, and so are the limit,
 * the wait and what becomes of a connection that comes back.
 */
import { isStorageError } from '../../errors.js';
import type { PoolFigures } from '../pool.js';
import type { Connection } from './connection.js';
import type { Connections } from './connections.js';
import { endsConnection } from './errors.js';
import type { Client, ConnectCallback, HostPool, Library } from './library.js';

/** DISCARD ALL without the plans, which are ours; it would also refuse to stand with other statements. */
const CLEAN =
  'ROLLBACK; CLOSE ALL; UNLISTEN *; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DISCARD TEMP; ' +
  'SELECT pg_advisory_unlock_all()';

/** @param pooled a pooler is in between: the session is not ours to clean. */
export function createHostPool(library: Library, connections: Connections, pooled: boolean): HostPool {
  class SharedPool extends library.Pool {
    override connect(): Promise<Client>;
    override connect(callback: ConnectCallback): void;
    override connect(callback?: ConnectCallback): Promise<Client> | void {
      if (this.ending) return refuse(callback);
      const lent = lend(connections, pooled);
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

async function lend(connections: Connections, pooled: boolean): Promise<Client> {
  const connection = await connections.acquire({ deadline: Infinity });
  const { client } = connection;
  let released = false;
  client.release = (destroy) => {
    if (released) throw new Error('Release called on client which has already been released to the pool.');
    released = true;
    giveBack(connections, connection, pooled, destroy);
  };
  return client;
}

function giveBack(
  connections: Connections,
  connection: Connection,
  pooled: boolean,
  destroy: Error | boolean | undefined,
): void {
  // `pool.query` gives each error of the server as a reason; most leave the connection as it was.
  if (destroy === true || (destroy instanceof Error && !isStorageError(destroy) && endsConnection(destroy)))
    connection.discard();
  else if (pooled) connections.release(connection);
  else void connections.clean(connection, CLEAN);
}
