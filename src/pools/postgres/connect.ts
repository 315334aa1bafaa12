/** New connections: the whole handshake within one time limit, TLS, and the settings of the server's session. */
import { readFile } from 'node:fs/promises';
import { TLSSocket } from 'node:tls';
import { listenToAbort } from '../../abort.js';
import { aborted, type Clock } from '../../clock.js';
import { StorageError, UnavailableError } from '../../errors.js';
import { requestCancel } from './cancel.js';
import { requireChannelBinding } from './channel-binding.js';
import { mapConnectError, serverAt } from './errors.js';
import type { Client, ClientConfig, Library } from './library.js';
import { PINNED_OPTIONS } from './session-settings.js';
import type { PostgresOptions } from './settings.js';

const KEEP_ALIVE_AFTER = 10_000;
/** What the server's own limit is where no setting caps it; it is raised for the statements that have longer. */
export const USUAL_STATEMENT_TIMEOUT = 60_000;

export class Connector {
  readonly #options: PostgresOptions;
  #tls: Promise<object | false> | undefined;

  constructor(
    private readonly library: Library,
    options: PostgresOptions,
    private readonly clock: Clock,
    private readonly component: string,
  ) {
    this.#options = options;
  }

  /**
   * @param made gets the client before it connects, so that nobody misses its errors.
   * @throws `UNAVAILABLE`, `UNAUTHORIZED`, `CONFIGURATION` (no such database, TLS), `ABORTED`.
   */
  async connect<C>(signal: AbortSignal, made: (client: Client) => C): Promise<C> {
    this.#tls ??= this.readTls();
    const tls = await this.#tls.catch((error: unknown) => {
      this.#tls = undefined;
      throw error;
    });
    const { tlsMode } = this.#options;
    try {
      return await this.attempt(tls, signal, made);
    } catch (error) {
      if (tlsMode === 'prefer' && tls !== false && speaksNoTls(error)) return this.attempt(false, signal, made);
      throw error;
    }
  }

  /** Asks the server to stop what `client` runs. Resolves when the server has heard it, or will not; never rejects. */
  async cancel(client: Client): Promise<void> {
    const isSecured = client.connection.stream instanceof TLSSocket;
    await requestCancel(client, isSecured && (await this.#tls!), this.clock);
  }

  private async attempt<C>(tls: object | false, signal: AbortSignal, made: (client: Client) => C): Promise<C> {
    if (signal.aborted) throw aborted(signal, 'open');
    const { address, pool } = this.#options;
    const client = new this.library.Client(this.config(tls));
    const result = made(client);
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: StorageError): void => {
        timer.cancel();
        unlisten();
        if (error === undefined) return resolve();
        client.connection.stream.destroy();
        reject(error);
      };
      const onAbort = (): void => settle(aborted(signal, 'open'));
      const timer = this.clock.after(pool.connectTimeout, () =>
        settle(
          new UnavailableError(`${serverAt(address)} did not complete the handshake within ${pool.connectTimeout} ms`, {
            component: this.component,
            operation: 'open',
          }),
        ),
      );
      const unlisten = listenToAbort(signal, onAbort);
      if (address.channelBinding === 'require') requireChannelBinding(client.connection, this.component, settle);
      client.connect().then(
        () => settle(),
        (error: unknown) => settle(mapConnectError(error, this.component, address)),
      );
    });
    return result;
  }

  private config(ssl: object | false): ClientConfig {
    const { address, applicationName, pooler, statementTimeout } = this.#options;
    // A pooler refuses parameters that it does not know, and would give its servers' settings to others.
    const session =
      pooler === 'transaction'
        ? []
        : ['-c TimeZone=UTC', `-c statement_timeout=${statementTimeout ?? USUAL_STATEMENT_TIMEOUT}`];
    const own = address.options === undefined ? [] : [address.options];
    // The last one that is said counts.
    const options = [...session, ...own, ...(pooler === 'transaction' ? [] : [PINNED_OPTIONS])].join(' ');
    return {
      host: address.host,
      port: address.port,
      user: address.user,
      password: address.password,
      database: address.database,
      ...(applicationName !== undefined && { application_name: applicationName }),
      ...(options !== '' && { options }),
      ssl,
      enableChannelBinding: address.channelBinding !== 'disable',
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER,
    };
  }

  private async readTls(): Promise<object | false> {
    const { tls, tlsMode } = this.#options;
    if (tlsMode === 'disable') return false;
    const [ca, cert, key] = await Promise.all([tls.ca, tls.cert, tls.key].map((value) => this.readPem(value)));
    const checked = tlsMode === 'verify-ca' || tlsMode === 'verify-full' || ca !== undefined;
    return {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      rejectUnauthorized: checked,
      ...(tlsMode !== 'verify-full' && { checkServerIdentity: () => undefined }),
    };
  }

  private async readPem(value: string | undefined): Promise<string | undefined> {
    if (value === undefined || value.includes('-----BEGIN')) return value;
    try {
      return await readFile(value, 'utf8');
    } catch (cause) {
      const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown';
      throw new StorageError('CONFIGURATION', `A file of the settings under ssl cannot be read (${reason})`, {
        component: this.component,
        operation: 'open',
        cause,
      });
    }
  }
}

function speaksNoTls(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  return cause instanceof Object && String((cause as Error).message).startsWith('The server does not support SSL');
}
