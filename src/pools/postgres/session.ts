/** One transaction on one connection. BEGIN travels with the first statement. */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { LocalSession } from '../local-session.js';
import type { Isolation, Pool } from '../pool.js';
import type { Connection, Holder } from './connection.js';
import { commitFault } from './outcome.js';
import { Statement } from './statement.js';

const LEVELS: Readonly<Record<Isolation, string>> = { serializable: 'SERIALIZABLE', snapshot: 'REPEATABLE READ' };

export class PostgresSession extends LocalSession implements Holder {
  private begun = false;
  private turn: Promise<void> | undefined;

  /** @param statementTimeout the server's limit for its statements, where it must be another than the connection's. */
  constructor(
    pool: Pool,
    readonly connection: Connection,
    private readonly isolation: Isolation,
    private readonly statementTimeout: number | undefined,
    bounds: OperationContext,
    clock: Clock,
  ) {
    super(pool, bounds, clock);
    connection.holder = this;
  }

  /** What goes before the next statement. */
  preface(): string[] {
    if (this.begun) return [];
    this.begun = true;
    const begin = `BEGIN ISOLATION LEVEL ${LEVELS[this.isolation]}`;
    return this.statementTimeout === undefined
      ? [begin]
      : [begin, `SET LOCAL statement_timeout = ${this.statementTimeout}`];
  }

  /** One statement after the other, in the order of these calls. */
  async inTurn<R>(run: () => Promise<R>): Promise<R> {
    while (this.turn !== undefined) await this.turn;
    const running = run();
    const leave = (): void => {
      if (this.turn === turn) this.turn = undefined;
    };
    const turn: Promise<void> = running.then(leave, leave);
    this.turn = turn;
    return running;
  }

  /** Resolves when no statement runs. */
  async idle(): Promise<void> {
    while (this.turn !== undefined) await this.turn;
  }

  /**
   * Commits what was begun; where nothing was sent there is nothing to commit.
   * @throws its failure, what the server found at the commit, `OUTCOME_UNKNOWN`.
   */
  async commit(): Promise<void> {
    await this.idle();
    const refusal = this.refusal();
    this.end();
    if (refusal !== undefined) throw refusal;
    if (!this.begun) return;
    const { connection } = this;
    const component = this.pool.name;
    const statement = new Statement('COMMIT');
    statement.deadline = this.deadline;
    try {
      await connection.run(statement);
    } catch (error) {
      throw commitFault(error, statement, connection, component);
    }
    // PostgreSQL says so, and no error, where a statement out of sight had failed.
    if (statement.tag !== 'COMMIT')
      throw this.failure ?? new StorageError('INTERNAL', 'The database rolled the transaction back', { component });
  }

  connectionEnded(reason: StorageError): void {
    this.failure ??= reason;
    // A pool that closes does not wait for a function that asks nothing of it.
    if (isStorageError(reason, 'CLOSED')) this.cut(reason);
  }
}
