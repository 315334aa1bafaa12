/** One transaction on one connection. BEGIN travels with the first statement. */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { LocalSession } from '../local-session.js';
import type { Isolation, Pool } from '../pool.js';
import type { Connection, Holder } from './connection.js';
import { isRefusal, mapError } from './errors.js';
import { commitFault } from './outcome.js';
import { type Savepoint, withSavepoint } from '../savepoint.js';
import { TurnQueue } from '../session-queue.js';
import { Statement } from './statement.js';

const LEVELS: Readonly<Record<Isolation, string>> = { serializable: 'SERIALIZABLE', snapshot: 'REPEATABLE READ' };

/** In characters: more than this is not sent before what was sent is answered, or it would wait in memory. */
const MOST_LEFT = 65_536;

const DEFERRED = /^(RELEASE )?SAVEPOINT quartermaster_\w+$/;

/** The server's limit for each statement of a transaction; 0: none. */
export interface StatementLimit {
  readonly milliseconds: number;
  /** Whether the connection keeps it, once the transaction is committed. */
  readonly stays: boolean;
}

export class PostgresSession extends LocalSession implements Holder {
  /** Whether BEGIN was sent. */
  isBegun = false;
  /** Characters of the statements that were left, and have no answer yet. */
  private left = 0;
  /** Settles with the answer to the last statement that was left, which comes after all those before it. */
  private lastLeft: Promise<void> | undefined;
  /** Whether the server has said that it did not do a statement that was left: then it commits nothing. */
  private isRefused = false;
  /** What is to be said about savepoints, which travels with the next statement. */
  private unsaid: string[] = [];
  /** Of its statements. */
  readonly turns: TurnQueue;

  /**
   * @param limit where it must be another than the connection's
   * @param pipelines whether a statement may be sent before the one before it is answered
   */
  constructor(
    pool: Pool,
    readonly connection: Connection,
    private readonly isolation: Isolation,
    private readonly limit: StatementLimit | undefined,
    private readonly pipelines: boolean,
    bounds: OperationContext,
    clock: Clock,
  ) {
    super(pool, bounds, clock);
    this.turns = new TurnQueue(clock);
    connection.holder = this;
  }

  /** What goes before the next statement. */
  preface(): string[] {
    const { unsaid } = this;
    this.unsaid = [];
    if (this.isBegun) return unsaid;
    this.isBegun = true;
    const begin = `BEGIN ISOLATION LEVEL ${LEVELS[this.isolation]}`;
    if (this.limit === undefined) return [begin, ...unsaid];
    const { milliseconds, stays } = this.limit;
    return [begin, `SET ${stays ? '' : 'LOCAL '}statement_timeout = ${milliseconds}`, ...unsaid];
  }

  /**
   * Whether `text` need not be sent by itself: a savepoint of the library's that is made or released asks the server
   * nothing, and travels with the next statement.
   */
  defer(text: string, context: OperationContext): boolean {
    if (!DEFERRED.test(text) || this.turns.isTaken || this.refusal(context) !== undefined) return false;
    this.unsaid.push(text);
    return true;
  }

  /** Whether a statement may be sent before those before it are answered: not one that its own time or signal ends alone. */
  mayShare({ signal, deadline }: OperationContext): boolean {
    return this.pipelines && signal === undefined && deadline >= this.deadline;
  }

  /**
   * Whether the answer to a statement need not be waited for. Within a savepoint it is: what fails there is undone by
   * itself. So it is where a signal ends the statement alone, or a pooler stands between.
   */
  mayLeave(statement: Statement, { signal }: OperationContext): boolean {
    return this.pipelines && this.depth === 0 && signal === undefined && this.left + statement.size <= MOST_LEFT;
  }

  /** @param faultOf what the transaction fails by, made of what the statement failed by */
  leave(statement: Statement, answer: Promise<unknown>, faultOf: (error: unknown) => StorageError): void {
    this.left += statement.size;
    const answered = (): void => void (this.left -= statement.size);
    // Nothing between: it is known before the answer to the next statement is.
    this.lastLeft = answer.then(answered, (error) => {
      answered();
      this.isRefused ||= isRefusal(error, statement.completed, this.connection.endedBy === undefined);
      this.failure ??= faultOf(error);
    });
  }

  /** Resolves when nothing of it runs any more, and all that was left has been answered. */
  async idle(): Promise<void> {
    await this.turns.idle();
    await this.lastLeft;
  }

  async savepoint<R>(work: () => Promise<R>): Promise<R> {
    // It is not of the part that begins here.
    await this.lastLeft;
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    return withSavepoint(this, (name) => this.setSavepoint(name), work);
  }

  /** A part with no statement costs nothing, one that is kept no round trip. */
  private setSavepoint(name: string): Savepoint {
    const set = `SAVEPOINT ${name}`;
    this.unsaid.push(set);
    /** @returns whether it was not said yet; then it has not to be. */
    const takeBack = (): boolean => {
      const place = this.unsaid.lastIndexOf(set);
      if (place >= 0) this.unsaid.length = place;
      return place >= 0;
    };
    return {
      release: () => void (takeBack() || this.unsaid.push(`RELEASE SAVEPOINT ${name}`)),
      undo: async () => {
        if (!takeBack()) await this.turns.run({ deadline: this.deadline }, () => this.rollBackTo(name));
      },
    };
  }

  private async rollBackTo(name: string): Promise<void> {
    // The connection may be another's by now.
    const { over } = this;
    if (over !== undefined) throw over;
    // It goes with the parts within this one.
    this.unsaid = [];
    const statement = new Statement(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`);
    statement.deadline = this.deadline;
    try {
      await this.connection.run(statement);
    } catch (error) {
      throw mapError(error, this.pool.name, 'transaction');
    }
  }

  /**
   * Commits what was begun; where nothing was sent there is nothing to commit.
   * @param run sends it, within the bounds of the transaction.
   * @throws its failure, what the server found at the commit, `OUTCOME_UNKNOWN`.
   */
  async commit(run: (connection: Connection, statement: Statement) => Promise<unknown>): Promise<void> {
    await this.turns.idle();
    const refusal = this.refusal();
    this.end();
    if (refusal !== undefined) throw refusal;
    if (!this.isBegun) return;
    const { connection } = this;
    const component = this.pool.name;
    const statement = new Statement('COMMIT');
    try {
      await run(connection, statement);
    } catch (error) {
      if (this.isRefused) throw this.failure ?? error;
      throw commitFault(error, statement, connection, component);
    }
    // PostgreSQL says so, and no error, where a statement out of sight had failed.
    if (statement.tag !== 'COMMIT')
      throw this.failure ?? new StorageError('INTERNAL', 'The database rolled the transaction back', { component });
    if (this.limit?.stays === true) connection.statementTimeout = this.limit.milliseconds;
  }

  connectionEnded(reason: StorageError): void {
    this.failure ??= reason;
    // A pool that closes does not wait for a function that asks nothing of it.
    if (isStorageError(reason, 'CLOSED')) this.cut(reason);
  }
}
