/** One connection: what runs on it, what state the server's session is in, and how it ends. */
import type { Clock } from '../../clock.js';
import { type StorageError, TimeoutError, UnavailableError } from '../../errors.js';
import type { SqlResult } from '../pool.js';
import { untilAborted } from '../slot.js';
import type { Bounded } from './deadlines.js';
import type { Client, TransactionStatus } from './library.js';
import type { Prepared, Statement } from './statement.js';

/** How long the server gets to answer a goodbye before the socket is destroyed. */
const GOODBYE = 1_000;

export interface ConnectionHost {
  readonly clock: Clock;
  readonly component: string;
  /** Called once, when the connection cannot be used any more. */
  ended(connection: Connection): void;
  /** Told of each deadline of a statement. */
  bound(deadline: number): void;
  /** Asks the server to stop what the client runs; resolves when it has heard. */
  cancel(client: Client): Promise<void>;
}

/** Who has the connection, and must know that it is gone. */
export interface Holder {
  connectionEnded(reason: StorageError): void;
}

export class Connection implements Bounded {
  status: TransactionStatus = 'I';
  /** Why it cannot be used any more. */
  endedBy: StorageError | undefined;
  holder: Holder | undefined;
  /** Resolves when the socket is closed, once it was ended. */
  closed: Promise<void> = Promise.resolve();
  readonly prepared: Prepared = new Map();
  /** Of `Clock.monotonic`. */
  expiresAt = Infinity;
  idleSince = 0;
  takenAt = 0;
  /** Of who took it, where leaks are looked for. */
  takenBy: string | undefined;
  /** To be closed when it comes back. */
  obsolete = false;
  /** The server's limit for a statement, as this session has it. */
  statementTimeout = 0;
  private running: Statement | undefined;
  private readonly host: ConnectionHost;

  /** @param client that has not begun to connect. */
  constructor(
    readonly client: Client,
    host: ConnectionHost,
  ) {
    this.host = host;
    // For as long as it lives, whoever has it: an error nobody listens for ends the process.
    client.on('error', (error) => this.lost(error));
    client.once('end', () => this.lost(undefined));
  }

  get deadline(): number {
    return this.running === undefined ? Infinity : this.running.deadline;
  }

  get busy(): boolean {
    return this.running !== undefined;
  }

  /** To be called once it is connected: the client's own listener must come before. */
  connected(): this {
    this.client.connection.on('readyForQuery', ({ status }) => {
      this.status = status;
      const { running } = this;
      if (running?.answered !== true) return;
      this.running = undefined;
      running.finish();
    });
    return this;
  }

  /**
   * Runs one statement; the caller waits for its end before the next.
   * @throws what the server or the library threw, unmapped; `TIMEOUT` at the statement's deadline, and the connection is gone.
   */
  run(statement: Statement): Promise<SqlResult> {
    const promise = statement.promise();
    if (this.endedBy !== undefined) {
      statement.fail(this.endedBy);
      return promise;
    }
    this.running = statement;
    statement.prepared = this.prepared;
    if (statement.deadline < Infinity) this.host.bound(statement.deadline);
    this.client.query(statement);
    return promise;
  }

  expire(): void {
    this.destroy(
      new TimeoutError('The deadline of the operation passed while the statement ran', {
        component: this.host.component,
      }),
    );
  }

  /** Ends it at once; a statement that runs is cancelled on the server, and rejects with `reason`. */
  destroy(reason: StorageError): void {
    if (this.endedBy !== undefined) return;
    const { stream } = this.client.connection;
    // A pooler forgets whose statement it was when the client leaves before the cancel comes.
    if (this.running === undefined) stream.destroy();
    else this.closed = this.host.cancel(this.client).then(() => void stream.destroy());
    this.end(reason);
  }

  /** Ends it at once, as its holder asks. */
  discard(): void {
    this.destroy(new UnavailableError('The connection was discarded', { component: this.host.component }));
  }

  /** Says goodbye, for which the server has a second. */
  close(reason: StorageError): void {
    if (this.endedBy !== undefined) return;
    this.closed = this.sayGoodbye(reason);
    this.end(reason);
  }

  private async sayGoodbye(reason: StorageError): Promise<void> {
    const limit = new AbortController();
    const timer = this.host.clock.after(GOODBYE, () => limit.abort(reason));
    await untilAborted(this.client.end(), limit.signal).catch(() => undefined);
    timer.cancel();
    this.client.connection.stream.destroy();
  }

  private lost(cause: Error | undefined): void {
    this.client.connection.stream.destroy();
    this.end(
      new UnavailableError('The connection to the server was lost', { component: this.host.component, cause }),
      cause,
    );
  }

  private end(reason: StorageError, failure: Error = reason): void {
    if (this.endedBy !== undefined) return;
    this.endedBy = reason;
    const { running } = this;
    this.running = undefined;
    running?.fail(failure);
    this.holder?.connectionEnded(reason);
    this.host.ended(this);
  }
}
