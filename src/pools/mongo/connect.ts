/** Opens a client, and finds out what the server behind it can do. */
import type { Document, MongoClient, MongoClientOptions } from 'mongodb';
import { aborted, type Clock } from '../../clock.js';
import { reworded, StorageError } from '../../errors.js';
import type { ClockReading } from '../clock-offset.js';
import { untilAborted } from '../slot.js';
import { isNetworkFault, isSystemFault, mapError } from './errors.js';
import { checkRelease, type Library, loadLibrary } from './library.js';
import { hostsOf, type MongoOptions } from './settings.js';

export interface Deployment {
  /** Only a replica set and a sharded cluster have transactions; others accept their commands and keep the writes. */
  readonly transactions: 'snapshot' | 'none';
  /** `undefined`: the server does not say what time it has. */
  readonly clock: ClockReading | undefined;
}

export interface Connected {
  readonly library: Library;
  readonly client: MongoClient;
  readonly deployment: Deployment;
}

/** The options of every client: nothing waits for ever, and nothing is acknowledged by fewer than a majority. */
export function clientOptions({ pool, socketTimeout, applicationName }: MongoOptions): MongoClientOptions {
  return {
    maxPoolSize: pool.max,
    minPoolSize: pool.min,
    maxIdleTimeMS: pool.idleTimeout,
    waitQueueTimeoutMS: pool.acquireTimeout,
    connectTimeoutMS: pool.connectTimeout,
    serverSelectionTimeoutMS: pool.connectTimeout,
    socketTimeoutMS: socketTimeout,
    writeConcern: { w: 'majority' },
    readPreference: 'primary',
    ...(applicationName === undefined ? {} : { appName: applicationName }),
  };
}

/**
 * A connected client. When it rejects, nothing is left open.
 * @param prepare listeners of events that connecting already emits.
 */
export async function connect(
  url: string,
  options: MongoClientOptions,
  bounds: { readonly clock: Clock; readonly signal: AbortSignal; readonly component: string },
  prepare?: (client: MongoClient) => void,
): Promise<Connected> {
  const { clock, signal, component } = bounds;
  const library = await loadLibrary(component);
  if (signal.aborted) throw aborted(signal, 'open');
  let client: MongoClient | undefined;
  let connecting: Promise<unknown> | undefined;
  try {
    client = library.client(url, options);
    await checkRelease(client, component);
    prepare?.(client);
    connecting = client.connect();
    await untilAborted(connecting, signal);
    return { client, library, deployment: await untilAborted(hello(client, clock, signal), signal) };
  } catch (error) {
    // A client that failed to connect says `Topology is closed` ever after: the next opening makes another.
    await client?.close().catch(() => undefined);
    // One that was still looking for the names of its servers goes on after a close.
    void connecting?.then(() => client?.close()).catch(() => undefined);
    if (signal.aborted) throw aborted(signal, 'open');
    throw openError(error, component, hostsOf(url));
  }
}

export async function hello(client: MongoClient, clock: Clock, signal: AbortSignal): Promise<Deployment> {
  const began = clock.monotonic();
  const answer: Document = await client.db('admin').command({ hello: 1 }, { signal });
  const latency = clock.monotonic() - began;
  const halfway = clock.now().getTime() - latency / 2;
  const { setName, msg, localTime } = answer as { setName?: unknown; msg?: unknown; localTime?: unknown };
  return {
    transactions: typeof setName === 'string' || msg === 'isdbgrid' ? 'snapshot' : 'none',
    clock: localTime instanceof Date ? { ahead: localTime.getTime() - halfway, latency } : undefined,
  };
}

function openError(error: unknown, component: string, hosts: string): StorageError {
  const mapped = mapError(error, component, 'open');
  if (mapped.code === 'UNAVAILABLE' && (isNetworkFault(error) || isSystemFault(error)))
    return reworded(mapped, `No server can be reached at ${hosts}`, { cause: error });
  if (mapped.code !== 'INTERNAL' && mapped.code !== 'TIMEOUT') return mapped;
  return new StorageError('UNAVAILABLE', 'The server did not accept the connection', {
    component,
    operation: 'open',
    details: mapped.details,
    cause: error,
  });
}
