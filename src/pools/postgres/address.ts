/** What a URL of PostgreSQL says. */

export const TLS_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type TlsMode = (typeof TLS_MODES)[number];

const CHANNEL_BINDINGS = ['disable', 'prefer', 'require'] as const;
export type ChannelBinding = (typeof CHANNEL_BINDINGS)[number];

export interface Address {
  /** A name, an address, or the directory of a socket, which begins with a slash. */
  readonly host: string;
  readonly port: number;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
  readonly applicationName?: string | undefined;
  /** Command-line options of the server: `-c search_path=app`. */
  readonly options?: string | undefined;
  readonly tlsMode?: TlsMode | undefined;
  readonly channelBinding: ChannelBinding;
  /** Files. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

const PARAMETERS: ReadonlySet<string> = new Set([
  ...['host', 'port', 'user', 'password', 'dbname', 'application_name', 'options'],
  ...['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding'],
]);

/** What others read. Only such a name is shown: behind an unescaped `?` of a password stands the rest of it. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  ...['schema', 'connection_limit', 'pool_timeout', 'pgbouncer', 'sslaccept', 'statement_cache_size', 'pool_size'],
  ...['ssl', 'connect_timeout', 'target_session_attrs', 'statement_timeout', 'search_path', 'gssencmode', 'keepalives'],
  ...['sslpassword', 'sslcrl', 'sslsni', 'sslnegotiation', 'client_encoding', 'fallback_application_name', 'hostaddr'],
]);

/** @returns the address, or what is wrong with the URL, without a part of it. */
export function readAddress(url: string): Address | string {
  let parsed: URL;
  try {
    parsed = new URL(url);
    decodeURIComponent(parsed.hostname + parsed.username + parsed.password + parsed.pathname);
  } catch {
    return 'expected a URL like postgresql://user:password@host:5432/database, special characters in it percent-encoded';
  }
  // An unescaped `/` or `#` in a password ends the host early: a part of the password would be a host's name.
  if (`${parsed.pathname}${parsed.hash}`.includes('@'))
    return 'special characters of the password must be percent-encoded';
  const { searchParams } = parsed;
  for (const key of searchParams.keys())
    if (!PARAMETERS.has(key))
      return `${ELSEWHERE.has(key) ? `the parameter ${key}` : 'a parameter'} of the URL is unknown; known: ${[...PARAMETERS].join(', ')}`;
  const said = (key: string): string | undefined => searchParams.get(key) || undefined;
  const part = (text: string): string | undefined => (text === '' ? undefined : decodeURIComponent(text));
  const host = said('host') ?? part(parsed.hostname.replace(/^\[(.*)\]$/, '$1')) ?? 'localhost';
  if (host.includes(',')) return 'one host is expected: several are not supported';
  const port = Number(said('port') ?? (parsed.port === '' ? 5432 : parsed.port));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return 'the port must be a number from 1 to 65535';
  const tlsMode = said('sslmode');
  if (tlsMode !== undefined && !TLS_MODES.includes(tlsMode as TlsMode))
    return `the parameter sslmode must be one of ${TLS_MODES.join(', ')}`;
  const channelBinding = (said('channel_binding') ?? 'disable') as ChannelBinding;
  if (!CHANNEL_BINDINGS.includes(channelBinding))
    return `the parameter channel_binding must be one of ${CHANNEL_BINDINGS.join(', ')}`;
  return {
    host,
    port,
    user: said('user') ?? part(parsed.username),
    password: said('password') ?? part(parsed.password),
    database: said('dbname') ?? part(parsed.pathname.slice(1)),
    applicationName: said('application_name'),
    options: said('options'),
    tlsMode: tlsMode as TlsMode | undefined,
    channelBinding,
    ca: said('sslrootcert'),
    cert: said('sslcert'),
    key: said('sslkey'),
  };
}
