/** One transaction on one connection. BEGIN travels with the first statement. */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { LocalSession } from '../local-session.js';
import type { Isolation, Pool } from '../pool.js';
import type { Connection, Holder } from './connection.js';
import { mapError } from './errors.js';
import { commitFault } from './outcome.js';
import { type Savepoint, withSavepoint } from '../savepoint.js';
import { TurnQueue } from '../session-queue.js';
import { Statement } from './statement.js';

const LEVELS: Readonly<Record<Isolation, string>> = { serializable: 'SERIALIZABLE', snapshot: 'REPEATABLE READ' };

const DEFERRED = /^(RELEASE )?SAVEPOINT quartermaster_\w+$/;

/** The server's limit for each statement of a transaction; 0: none. */
export interface StatementLimit {
  readonly milliseconds: number;
  /** Whether the connection keeps it, once the transaction is committed. */
  readonly stays: boolean;
}

export class PostgresSession extends LocalSession implements Holder {
  private begun = false;
  /** What is to be said about savepoints, which travels with the next statement. */
  private unsaid: string[] = [];
  /** Of its statements. */
  readonly turns: TurnQueue;

  /** @param limit where it must be another than the connection's. */
  constructor(
    pool: Pool,
    readonly connection: Connection,
    private readonly isolation: Isolation,
    private readonly limit: StatementLimit | undefined,
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
    if (this.begun) return unsaid;
    this.begun = true;
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

  async savepoint<R>(work: () => Promise<R>): Promise<R> {
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
    if (!this.begun) return;
    const { connection } = this;
    const component = this.pool.name;
    const statement = new Statement('COMMIT');
    try {
      await run(connection, statement);
    } catch (error) {
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
