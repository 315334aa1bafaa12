/** One transaction on one connection. BEGIN travels with the first statement. */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, type StorageError } from '../../errors.js';
import { LocalSession } from '../local-session.js';
import type { Isolation, Pool } from '../pool.js';
import type { Connection, Holder } from './connection.js';

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

  /** Whether anything was sent. */
  get hasBegun(): boolean {
    return this.begun;
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

  connectionEnded(reason: StorageError): void {
    this.failure ??= reason;
    // A pool that closes does not wait for a function that asks nothing of it.
    if (isStorageError(reason, 'CLOSED')) this.cut(reason);
  }
}
