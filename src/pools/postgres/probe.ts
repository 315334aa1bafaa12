/** The connection of the health check: opened ahead, never one of the pool's, so that an exhausted pool can be asked. */
import { listenToAbort } from '../../abort.js';
import type { Clock } from '../../clock.js';
import { UnavailableError } from '../../errors.js';
import type { ClockReading } from '../clock-offset.js';
import { Connection, type ConnectionHost } from './connection.js';
import type { Connector } from './connect.js';
import { mapError } from './errors.js';
import type { Client } from './library.js';
import { requireSettings, SETTINGS_COLUMNS } from './session-settings.js';
import { Statement } from './statement.js';

export interface Measure extends ClockReading {
  /** As the server writes it: `17.2`. */
  readonly version: string;
  /** A standby, or a server that was told to accept no writes. */
  readonly readOnly: boolean;
}

const QUESTION =
  'SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now, ' +
  "current_setting('server_version') AS version, " +
  "(pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool) AS read_only, " +
  SETTINGS_COLUMNS;

export class Probe implements ConnectionHost {
  private connection: Connection | undefined;
  private measuring: Promise<Measure> | undefined;
  private closed = false;

  constructor(
    private readonly connector: Connector,
    /** Of its connection, in milliseconds; 0: any age. */
    private readonly lifetime: number,
    readonly clock: Clock,
    readonly component: string,
  ) {}

  /** Those that ask at once share an answer. @throws what opening a connection throws; `UNAVAILABLE`; `CONFIGURATION`, see `requireSettings`. */
  measure(signal: AbortSignal): Promise<Measure> {
    this.measuring ??= this.ask(signal).finally(() => (this.measuring = undefined));
    return this.measuring;
  }

  /** The next check opens a new connection, wherever the server's name leads then. */
  renew(): void {
    if (this.connection !== undefined) this.connection.expiresAt = -Infinity;
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.closed = true;
    const { connection } = this;
    if (connection?.busy === true) connection.destroy(this.endedError());
    else connection?.close(this.endedError());
    await connection?.closed;
  }

  ended(connection: Connection): void {
    if (this.connection === connection) this.connection = undefined;
  }

  /** The check's signal bounds it. */
  bound(): void {}

  cancel(client: Client): Promise<void> {
    return this.connector.cancel(client);
  }

  private async ask(signal: AbortSignal): Promise<Measure> {
    if (this.connection !== undefined && this.connection.expiresAt <= this.clock.monotonic())
      this.connection.close(this.endedError());
    const connection = (this.connection ??= await this.open(signal));
    const onAbort = (): void => connection.destroy(this.endedError(signal.reason));
    const unlisten = listenToAbort(signal, onAbort);
    try {
      if (signal.aborted) throw this.endedError(signal.reason);
      const { clock } = this;
      const wall = clock.now().getTime();
      const before = clock.monotonic();
      const { rows } = await connection.run(new Statement(QUESTION, []));
      const latency = clock.monotonic() - before;
      const [row] = rows;
      requireSettings(row!, this.component);
      return {
        latency,
        ahead: Number(row!['now']) - (wall + latency / 2),
        version: String(row!['version']),
        readOnly: row!['read_only'] === true,
      };
    } catch (error) {
      throw mapError(error, this.component, 'check');
    } finally {
      unlisten();
    }
  }

  private async open(signal: AbortSignal): Promise<Connection> {
    const connection = await this.connector.connect(signal, (client) => new Connection(client, this));
    if (this.lifetime > 0) connection.expiresAt = this.clock.monotonic() + this.lifetime;
    if (!this.closed) return connection.connected();
    connection.close(this.endedError());
    await connection.closed;
    throw this.endedError();
  }

  private endedError(cause?: unknown): UnavailableError {
    return new UnavailableError('The connection of the health check was ended', { component: this.component, cause });
  }
}
