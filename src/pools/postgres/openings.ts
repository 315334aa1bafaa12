/** Connections that are being opened. */
import { listenToAbort } from '../../abort.js';
import { Connection, type ConnectionHost } from './connection.js';
import { type Connector, USUAL_STATEMENT_TIMEOUT } from './connect.js';
import type { PostgresOptions } from './settings.js';

export class Openings {
  private readonly running = new Set<AbortController>();
  /** The server's limit for a statement, as a connection begins with it, in milliseconds. */
  readonly statementTimeout: number;
  private readonly lifetime: number;

  constructor(
    private readonly connector: Connector,
    { pool, statementTimeout }: PostgresOptions,
    private readonly host: ConnectionHost,
  ) {
    this.statementTimeout = statementTimeout ?? USUAL_STATEMENT_TIMEOUT;
    this.lifetime = pool.lifetime;
  }

  get size(): number {
    return this.running.size;
  }

  /** @param opened is called before it counts as opened no more. @throws as `Connector.connect`. */
  async open(opened: (connection: Connection) => void, signal?: AbortSignal): Promise<Connection> {
    const { clock } = this.host;
    const opening = new AbortController();
    const onAbort = (): void => opening.abort(signal?.reason);
    const unlisten = listenToAbort(signal, onAbort);
    this.running.add(opening);
    try {
      const connection = await this.connector.connect(opening.signal, (client) => new Connection(client, this.host));
      if (this.lifetime > 0) connection.expiresAt = clock.monotonic() + this.lifetime * (0.9 + 0.1 * Math.random());
      connection.statementTimeout = this.statementTimeout;
      opened(connection.connected());
      return connection;
    } finally {
      this.running.delete(opening);
      unlisten();
    }
  }

  abort(reason: unknown): void {
    for (const opening of this.running) opening.abort(reason);
  }
}
