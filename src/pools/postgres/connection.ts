/** One connection: what runs on it, what state the server's session is in, and how it ends. */
import type { Clock } from '../../clock.js';
import { type StorageError, TimeoutError, UnavailableError } from '../../errors.js';
import type { SqlResult } from '../pool.js';
import { untilAborted } from '../slot.js';
import type { Bounded } from './deadlines.js';
import type { Client, TransactionStatus } from './library.js';
import { type Prepared, Statement } from './statement.js';

/** How long the server gets to answer a goodbye, or a request to stop, before the socket is destroyed. */
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
  /** The operations that share it. */
  users = 1;
  private running: Statement | undefined;
  /** Sent while another ran, in this order. */
  private readonly ahead: Statement[] = [];
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
    let first = this.running?.deadline ?? Infinity;
    for (const { deadline } of this.ahead) if (deadline < first) first = deadline;
    return first;
  }

  get busy(): boolean {
    return this.running !== undefined;
  }

  /**
   * To be called once it is connected: the client's own listener must come before.
   * @throws what ended it since: the server may say in one breath that it is ready and that it goes.
   */
  connected(): this {
    if (this.endedBy !== undefined) throw this.endedBy;
    this.client.connection.on('readyForQuery', ({ status }) => {
      this.status = status;
      const { running } = this;
      if (running?.answered !== true) return;
      running.status = status;
      this.running = this.ahead.shift();
      // The messages that follow are its answers.
      if (this.running !== undefined) this.client.query(this.running);
      running.finish();
    });
    return this;
  }

  /**
   * Runs one statement. While another runs it is sent without waiting for that one's answers, which only statements that
   * stand for themselves may ask for: each has its own Sync, so an error of one does not touch the next.
   * @throws what the server or the library threw, unmapped; `TIMEOUT` at the statement's deadline, and the connection is gone.
   */
  run(statement: Statement): Promise<SqlResult> {
    const promise = statement.promise();
    if (this.endedBy !== undefined) {
      statement.fail(this.endedBy);
      return promise;
    }
    statement.prepared = this.prepared;
    if (statement.deadline < Infinity) this.host.bound(statement.deadline);
    if (this.running === undefined) {
      this.running = statement;
      this.client.query(statement);
    } else {
      this.ahead.push(statement);
      statement.submit(this.client.connection);
    }
    return promise;
  }

  /** Whether the server answers on it; when not by `deadline`, it is gone. */
  answers(deadline: number): Promise<boolean> {
    const trial = new Statement('');
    trial.deadline = deadline;
    return this.run(trial).then(
      () => true,
      () => false,
    );
  }

  expire(): void {
    const now = this.host.clock.monotonic();
    if (this.running !== undefined && this.running.deadline <= now) return this.stop(this.lateError());
    // What the server has not come to yet ends for its caller alone; its answer is dropped when it comes.
    for (const statement of this.ahead)
      if (statement.deadline <= now) {
        statement.deadline = Infinity;
        statement.fail(this.lateError());
      }
  }

  /**
   * Ends it as `destroy` does, unless the server is to say what became of what runs: then it is asked to stop that, and has a
   * second for its answer.
   */
  stop(reason: StorageError): void {
    const { running } = this;
    if (running?.stoppable !== true || running.stopped !== undefined) return this.destroy(reason);
    running.stopped = reason;
    running.deadline = this.host.clock.monotonic() + GOODBYE;
    this.host.bound(running.deadline);
    // The request may come late, when another statement runs.
    this.obsolete = true;
    void this.host.cancel(this.client);
  }

  /** Ends it at once; a statement that runs is cancelled on the server, and rejects with `reason`. */
  destroy(reason: StorageError): void {
    if (this.endedBy !== undefined) return;
    const { stream } = this.client.connection;
    if (this.running === undefined) stream.destroy();
    else {
      // What is answered meanwhile is for statements that are not there any more: `pg` before 8.18 falls over it.
      stream.pause();
      // A pooler forgets whose statement it was when the client leaves before the cancel comes.
      this.closed = this.host.cancel(this.client).then(() => void stream.destroy());
    }
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

  private lateError(): TimeoutError {
    return new TimeoutError('The deadline of the operation passed while the statement ran', {
      component: this.host.component,
    });
  }

  private lost(cause: Error | undefined): void {
    this.client.connection.stream.destroy();
    this.end(this.lostError(cause), cause);
  }

  private lostError(cause?: unknown): UnavailableError {
    return new UnavailableError('The connection to the server was lost', { component: this.host.component, cause });
  }

  private end(reason: StorageError, failure: Error = reason): void {
    if (this.endedBy !== undefined) return;
    this.endedBy = reason;
    const { running } = this;
    this.running = undefined;
    running?.fail(failure);
    // The led statement was not begun; it fails by the server's own error.
    if (running?.leads === true) this.ahead.shift()?.fail(running.failure ?? failure);
    for (const statement of this.ahead.splice(0)) statement.fail(this.lostError());
    this.holder?.connectionEnded(reason);
    this.host.ended(this);
  }
}
