/** The settings beside the URL, and what both say together. */
import type { SettingsFragment } from '../../component.js';
import { StorageError } from '../../errors.js';
import { type Address, readAddress, TLS_MODES, type TlsMode } from './address.js';

export interface PoolOptions {
  readonly max: number;
  readonly min: number;
  readonly acquireTimeout: number;
  readonly connectTimeout: number;
  readonly idleTimeout: number;
  readonly lifetime: number;
  readonly leakTimeout: number | null;
}

export interface PostgresOptions {
  readonly address: Address;
  readonly pool: PoolOptions;
  readonly statementTimeout: number | null;
  readonly pooler: 'none' | 'transaction';
  readonly pipeline: boolean;
  readonly tlsMode: TlsMode;
  /** PEM, or the file that holds it. */
  readonly tls: {
    readonly ca?: string | undefined;
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
  };
  readonly applicationName: string | undefined;
}

const POOL: PoolOptions = {
  max: 10,
  min: 0,
  acquireTimeout: 5_000,
  connectTimeout: 5_000,
  idleTimeout: 60_000,
  lifetime: 1_800_000,
  leakTimeout: null,
};

export const settings: SettingsFragment = {
  pool: {
    max: {
      doc: 'How many connections it opens at most; the health check has one more.',
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
      doc: 'How long a new connection may take until the server is ready for statements, in milliseconds.',
      format: 'timeout',
      default: POOL.connectTimeout,
    },
    idleTimeout: {
      doc: 'How long a connection above the minimum is kept without use, in milliseconds.',
      format: 'milliseconds',
      default: POOL.idleTimeout,
    },
    lifetime: {
      doc: 'How old a connection gets, in milliseconds, less up to a tenth at random; 0: any age.',
      format: 'milliseconds',
      default: POOL.lifetime,
    },
    leakTimeout: {
      doc: 'A connection held longer, in milliseconds, is told in the health report with the stack of who took it; costs a stack for each use.',
      format: 'milliseconds',
      default: POOL.leakTimeout,
    },
  },
  statementTimeout: {
    doc: "The longest that the server lets a statement run, in milliseconds; 0: as long as it takes. Behind a pooler in transactions only. Default: as long as the operation's own time.",
    format: 'milliseconds',
    default: null,
  },
  pooler: {
    doc: 'transaction: PgBouncer or its like in between, in transaction mode: no named statements, no settings of the session.',
    format: ['none', 'transaction'],
    default: 'none',
  },
  pipeline: {
    doc: 'Whether statements outside of transactions share connections, each sent without waiting for the answers before it.',
    format: 'boolean',
    default: false,
  },
  ssl: {
    mode: {
      doc: "disable, prefer, require (encrypted, the server's identity unchecked), verify-ca, verify-full. Default: the URL's sslmode, else verify-full where ca, cert or key is given, else disable.",
      format: TLS_MODES,
      default: null,
    },
    ca: { doc: 'The certificates trusted, as PEM or its file.', format: 'string', default: null, sensitive: true },
    cert: { doc: "The client's certificate, as PEM or its file.", format: 'string', default: null, sensitive: true },
    key: { doc: "The client's key, as PEM or its file.", format: 'string', default: null, sensitive: true },
  },
  applicationName: {
    doc: 'The name that the server shows for the connections.',
    format: 'string',
    default: null,
  },
};

interface Given {
  readonly pool?: Partial<PoolOptions>;
  readonly statementTimeout?: number | null;
  readonly pooler?: 'none' | 'transaction';
  readonly pipeline?: boolean;
  readonly ssl?: Readonly<Partial<Record<'mode' | 'ca' | 'cert' | 'key', string | null>>>;
  readonly applicationName?: string | null;
}

/** @throws `CONFIGURATION` for a URL that `checkUrl` refuses. */
export function readOptions(url: string, options: Readonly<Record<string, unknown>>): PostgresOptions {
  const address = readAddress(url);
  if (typeof address === 'string') throw new StorageError('CONFIGURATION', `The URL cannot be used: ${address}`);
  const given = options as Given;
  const { ssl = {} } = given;
  const pool = { ...POOL, ...given.pool };
  const tls = { ca: ssl.ca ?? address.ca, cert: ssl.cert ?? address.cert, key: ssl.key ?? address.key };
  // Who gives a certificate means a connection that is checked, as `pg` does: without a word it would be a plain one.
  const usual = Object.values(tls).some((value) => value !== undefined) ? 'verify-full' : 'disable';
  return {
    address,
    pool: { ...pool, max: Math.max(pool.max, 1), min: Math.min(pool.min, Math.max(pool.max, 1)) },
    statementTimeout: given.statementTimeout ?? null,
    pooler: given.pooler ?? 'none',
    pipeline: given.pipeline ?? false,
    tlsMode: (ssl.mode as TlsMode | null | undefined) ?? address.tlsMode ?? usual,
    tls,
    applicationName: given.applicationName ?? address.applicationName,
  };
}

/** Whether the settings, or the URL's options, say how long the server lets a statement run: then nothing else does. */
export function limitsStatements({ statementTimeout, address }: PostgresOptions): boolean {
  return statementTimeout !== null || /statement[-_]timeout/i.test(address.options ?? '');
}

/** Equal for the URLs and settings that mean the same pool. It holds the password. */
export function optionsKey(options: PostgresOptions): string {
  const sorted = (_key: string, value: unknown): unknown =>
    value !== null && typeof value === 'object'
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  const { address, applicationName, tls, tlsMode, ...rest } = options;
  const { host, port, user, password, database } = address;
  const said = { host, port, user, password, database, serverOptions: address.options, tls, tlsMode, applicationName };
  return `postgres:${JSON.stringify({ ...rest, ...said, channelBinding: address.channelBinding }, sorted)}`;
}
