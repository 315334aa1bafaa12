/**
 * One transaction on one connection. BEGIN travels with the first statement, and within its Sync: were it sent by itself,
 * what follows would be done outside of a transaction where BEGIN fails.
 */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { LocalSession } from '../local-session.js';
import type { Isolation, Pool } from '../pool.js';
import type { Connection, Holder } from './connection.js';
import { mapError } from './errors.js';
import { commitFault } from './outcome.js';
import { type Savepoint, withSavepoint } from '../savepoint.js';
import { Statement } from './statement.js';

const LEVELS: Readonly<Record<Isolation, string>> = { serializable: 'SERIALIZABLE', snapshot: 'REPEATABLE READ' };

/** In characters: what is left beyond this is sent, or it would wait in memory. */
const MOST_LEFT = 65_536;

const DEFERRED = /^(RELEASE )?SAVEPOINT quartermaster_\w+$/;

type FaultOf = (fault: StorageError) => StorageError;

/** The server's limit for each statement of a transaction; 0: none. */
export interface StatementLimit {
  readonly milliseconds: number;
  /** Whether the connection keeps it, once the transaction is committed. */
  readonly stays: boolean;
}

export class PostgresSession extends LocalSession implements Holder {
  /** Whether BEGIN was sent. */
  isBegun = false;
  /** What travels with the next statement: what is to be said about savepoints, and statements that were left for it. */
  private unsaid: (string | Statement)[] = [];
  /** Characters of the statements in there. */
  private left = 0;
  /** What the transaction fails by, made of what a statement that was left has failed by. */
  private readonly faults = new WeakMap<Statement, FaultOf>();

  /** @param limit where it must be another than the connection's */
  constructor(
    pool: Pool,
    readonly connection: Connection,
    private readonly isolation: Isolation,
    private readonly limit: StatementLimit | undefined,
    bounds: OperationContext,
    clock: Clock,
  ) {
    super(pool, bounds, clock);
    connection.holder = this;
  }

  /** What goes before the next statement. */
  preface(): (string | Statement)[] {
    const { unsaid } = this;
    this.unsaid = [];
    this.left = 0;
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
    if (!DEFERRED.test(text) || (context.turns ?? this.turns).isTaken || this.refusal(context) !== undefined)
      return false;
    this.unsaid.push(text);
    return true;
  }

  /**
   * Whether a statement may travel with the next one, as its answer is not asked for. Not within a savepoint: what fails
   * there is undone by itself.
   */
  mayLeave(statement: Statement, { signal }: OperationContext): boolean {
    return this.depth === 0 && signal === undefined && this.left + statement.size <= MOST_LEFT;
  }

  /** @param faultOf what the transaction fails by, made of what the statement failed by */
  leave(statement: Statement, faultOf: FaultOf): void {
    this.unsaid.push(statement);
    this.left += statement.size;
    this.faults.set(statement, faultOf);
  }

  /** The last statement that was left, to be sent with what was to travel before it: nothing stands before a script. */
  takeLeft(): Statement | undefined {
    const place = this.unsaid.findLastIndex((part) => part instanceof Statement);
    if (place < 0) return undefined;
    const after = this.unsaid.splice(place);
    const statement = after.shift() as Statement;
    statement.preface = this.preface();
    this.unsaid = after;
    return statement;
  }

  /**
   * What the transaction fails by where `statement` did.
   * @param fault what it failed by itself
   */
  faultOf({ current }: Statement, fault: StorageError): StorageError {
    const faultOf = current instanceof Statement ? this.faults.get(current) : undefined;
    return faultOf === undefined ? fault : faultOf(fault);
  }

  /** Resolves when nothing of it runs any more. */
  idle(): Promise<void> {
    return this.turns.idle();
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
    const statement = this.lastOne();
    if (!this.isBegun) return;
    const { connection } = this;
    const component = this.pool.name;
    try {
      await run(connection, statement);
    } catch (error) {
      throw this.faultOf(statement, commitFault(error, statement, connection, component));
    }
    // PostgreSQL says so, and no error, where a statement out of sight had failed.
    if (statement.tag !== 'COMMIT')
      throw this.failure ?? new StorageError('INTERNAL', 'The database rolled the transaction back', { component });
    if (this.limit?.stays === true) connection.statementTimeout = this.limit.milliseconds;
  }

  /** COMMIT, with what was left. That may wait for locks, or take long, for as long as the transaction may. */
  private lastOne(): Statement {
    if (this.left === 0) return new Statement('COMMIT');
    const statement = new Statement('COMMIT', []);
    statement.preface = this.preface();
    statement.stoppable = true;
    return statement;
  }

  connectionEnded(reason: StorageError): void {
    this.failure ??= reason;
    // A pool that closes does not wait for a function that asks nothing of it.
    if (isStorageError(reason, 'CLOSED')) this.cut(reason);
  }
}
