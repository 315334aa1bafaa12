/** The settings beside the URL, and what both say together. */
import type { SettingsFragment } from '../../component.js';

export interface PoolSettings {
  readonly max: number;
  readonly min: number;
  readonly acquireTimeout: number;
  readonly connectTimeout: number;
  readonly idleTimeout: number;
}

export interface MongoOptions {
  readonly url: string;
  readonly database: string;
  readonly pool: PoolSettings;
  readonly socketTimeout: number;
  readonly applicationName: string | undefined;
}

const POOL: PoolSettings = { max: 20, min: 0, acquireTimeout: 5_000, connectTimeout: 5_000, idleTimeout: 60_000 };
const SOCKET_TIMEOUT = 120_000;

/** Where a URL names no database. */
const DATABASE = 'quartermaster';

export const settings: SettingsFragment = {
  pool: {
    max: {
      doc: 'How many connections it opens to a server at most; the health check has one more.',
      format: 'positive',
      default: POOL.max,
    },
    min: { doc: 'How many connections it keeps open when idle.', format: 'nat', default: POOL.min },
    acquireTimeout: {
      doc: 'How long an operation waits for a connection, in milliseconds, before it fails with UNAVAILABLE.',
      format: 'timeout',
      default: POOL.acquireTimeout,
    },
    connectTimeout: {
      doc: 'How long a server that can be used is looked for, and how long a new connection to it may take, in milliseconds.',
      format: 'timeout',
      default: POOL.connectTimeout,
    },
    idleTimeout: {
      doc: 'How long a connection above the minimum is kept without use, in milliseconds.',
      format: 'milliseconds',
      default: POOL.idleTimeout,
    },
  },
  socketTimeout: {
    doc: 'How long a connection may be silent while an answer is awaited, in milliseconds; an operation ends at its own deadline, whichever is first.',
    format: 'milliseconds',
    default: SOCKET_TIMEOUT,
  },
  applicationName: {
    doc: 'The name that the server shows for the connections.',
    format: 'string',
    default: null,
  },
};

interface Given {
  readonly pool?: Partial<PoolSettings>;
  readonly socketTimeout?: number;
  readonly applicationName?: string | null;
}

/** What the URL says counts where the settings have their defaults. */
export function readOptions(url: string, options: Readonly<Record<string, unknown>>): MongoOptions {
  const { pool, applicationName, socketTimeout: silence = SOCKET_TIMEOUT } = options as Given;
  const said = saidByUrl(url);
  const merged: { -readonly [K in keyof PoolSettings]: number } = { ...POOL, ...pool };
  for (const key of Object.keys(POOL) as (keyof PoolSettings)[])
    if (merged[key] === POOL[key]) merged[key] = said.get(`pool.${key}`) ?? POOL[key];
  const socketTimeout = silence === SOCKET_TIMEOUT ? (said.get('socketTimeout') ?? SOCKET_TIMEOUT) : silence;
  const max = Math.max(merged.max, 1);
  return {
    url,
    database: databaseOf(url) || DATABASE,
    pool: { ...merged, max, min: Math.min(merged.min, max) },
    socketTimeout,
    applicationName: applicationName ?? undefined,
  };
}

const URL_PARTS = /^mongodb(\+srv)?:\/\/(?:[^@/?]*@)?([^/?@]*)(?:\/([^?]*))?(?:\?(.*))?$/is;

/** Options of the client that are settings here, under these names, which count where they say more. */
const SETTINGS: Readonly<Record<string, string>> = {
  maxPoolSize: 'pool.max',
  minPoolSize: 'pool.min',
  maxIdleTimeMS: 'pool.idleTimeout',
  waitQueueTimeoutMS: 'pool.acquireTimeout',
  connectTimeoutMS: 'pool.connectTimeout',
  serverSelectionTimeoutMS: 'pool.connectTimeout',
  socketTimeoutMS: 'socketTimeout',
};
/** What every client here has. A URL may say it too, as those that a service gives out do. */
const FIXED: Readonly<Record<string, string>> = {
  w: 'majority',
  readPreference: 'primary',
  readConcernLevel: 'majority',
};

/** By the settings' names. Of two options that are one setting the longer time counts; 0 would be without end, and counts not. */
function saidByUrl(url: string): ReadonlyMap<string, number> {
  const said = new Map<string, number>();
  for (const [key, value] of new URLSearchParams(URL_PARTS.exec(url)?.[4] ?? '')) {
    const setting = SETTINGS[optionOf(SETTINGS, key) ?? ''];
    if (setting !== undefined && Number(value) > 0) said.set(setting, Math.max(Number(value), said.get(setting) ?? 0));
  }
  return said;
}

/** The client's names of options are of any case. */
function optionOf(options: object, key: string): string | undefined {
  return Object.keys(options).find((name) => name.toLowerCase() === key.toLowerCase());
}

function databaseOf(url: string): string {
  return decode(URL_PARTS.exec(url)?.[3] ?? '') ?? '';
}

/** The servers of a URL, as it names them. */
export function hostsOf(url: string): string {
  return URL_PARTS.exec(url)?.[2] ?? '';
}

/** What is wrong with a URL, without repeating any of it: it may hold a password. */
export function urlFault(url: string): string | undefined {
  const parts = URL_PARTS.exec(url);
  if (parts === null)
    return 'mongodb://[user:password@]host[:port][/database][?options]; special characters of the password as %XX';
  const [, srv, hosts = '', path = '', query = ''] = parts;
  const names = hosts.split(',');
  if (names.some((name) => name === '' || name.startsWith(':'))) return 'a host after //';
  if (srv !== undefined && (names.length > 1 || /:\d*$/.test(hosts)))
    return 'one host without a port after mongodb+srv://';
  if (srv === undefined && names.some((name) => !/^(\[[^\]]+\]|[^:]+)(:\d{1,5})?$/.test(name)))
    return 'hosts of the form name:port, a comma between two';
  const database = decode(path);
  // A password with an unescaped `/`: what is before it would be a host, and its rest the database.
  if (path.includes('@')) return 'a URL whose password has its special characters as %XX';
  if (database === undefined || /[/\\. "$*<>:|?\0]/.test(database) || Buffer.byteLength(database) > 63)
    return 'a database name of at most 63 bytes without any of / \\ . " $ * < > : | ? and spaces';
  return optionFault(query);
}

/** What a URL says must not be replaced without a word. */
function optionFault(query: string): string | undefined {
  for (const [key, value] of new URLSearchParams(query)) {
    const setting = optionOf(SETTINGS, key);
    if (setting !== undefined && !/^\d{1,9}$/.test(value))
      return `a URL whose ${setting} is a whole number, 0 or more (it is ${SETTINGS[setting]} of the settings)`;
    const fixed = optionOf(FIXED, key);
    if (fixed !== undefined && value !== FIXED[fixed])
      return `a URL without ${fixed}, which is ${FIXED[fixed]} here in any case`;
  }
  return undefined;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Equal for the URLs and settings that mean the same pool. It holds the password. */
export function optionsKey({ url, pool, socketTimeout, applicationName }: MongoOptions): string {
  const { max, min, acquireTimeout, connectTimeout, idleTimeout } = pool;
  const said = [max, min, acquireTimeout, connectTimeout, idleTimeout, socketTimeout, applicationName];
  return `mongo:${JSON.stringify([url, ...said])}`;
}
