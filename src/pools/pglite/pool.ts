/** The pool over PGlite: one connection, whose turns a slot gives out. */
import type { PGlite } from '@electric-sql/pglite';
import type { Clock } from '../../clock.js';
import type { CheckResult, OpenContext, OperationContext, Session } from '../../component.js';
import { StorageError, UnavailableError, ValidationError } from '../../errors.js';
import { hostClient } from './host-client.js';
import { busyReport, type Opened, PgliteSession } from './session.js';
import { closeDatabase, type Database, inTransaction, openDatabase, rollBack, unusable } from './database.js';
import { mapError, stopsTheEngine } from './errors.js';
import { Maintenance } from './maintenance.js';
import type {
  PoolEnvironment,
  PoolFigures,
  RawClient,
  SqlPool,
  SqlResult,
  SqlValue,
  TransactionOptions,
} from '../pool.js';
import { Slot, timerDelay, untilAborted } from '../slot.js';

/** How long PGlite itself gets to close, after the work in flight was given its time. */
const CLOSE_GRACE = 5_000;

/**
 * Statements run synchronously inside the process: a deadline or a signal ends the wait for the connection and a
 * transaction between its statements, never a statement that runs.
 */
export class PglitePool implements SqlPool {
  readonly dialect = 'postgres';
  readonly name: string;
  private readonly clock: Clock;
  private opened: Opened | undefined;
  private opening: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private generation = 0;

  /** @param directory absolute; `undefined`: in memory. */
  constructor(
    private readonly directory: string | undefined,
    private readonly acquireTimeout: number,
    environment: PoolEnvironment,
  ) {
    this.name = environment.name;
    this.clock = environment.clock;
  }

  readonly raw: RawClient = { language: 'sql', client: () => this.require('sql').host };

  get durable(): boolean {
    return this.directory !== undefined;
  }

  open(context: OpenContext): Promise<void> {
    if (this.opened !== undefined) return Promise.resolve();
    this.opening ??= this.start(context, this.generation).finally(() => (this.opening = undefined));
    return this.opening;
  }

  query(text: string, parameters: readonly SqlValue[], context: OperationContext): Promise<SqlResult> {
    return this.operate('query', context, async (client) => {
      const { command, rows, affectedRows } = await client.query<Record<string, unknown>>(text, [...parameters]);
      // The engine ran out of stack, for one: PGlite reports that as an empty result.
      if (command === undefined) throw new Error('The engine gave no answer');
      const affected = affectedRows ?? 0;
      if (affected > 0) this.opened?.maintenance.changed(affected);
      return { rows, affected };
    });
  }

  script(text: string, context: OperationContext): Promise<void> {
    return this.operate('script', context, async (client) => {
      await client.exec(text);
    });
  }

  async transaction<R>({ context }: TransactionOptions, work: (session: Session) => Promise<R>): Promise<R> {
    const opened = this.require('transaction');
    const turn = opened.slot.acquire(context);
    if (turn !== undefined) await turn;
    const session = new PgliteSession(this, opened, context, this.clock);
    opened.session = session;
    try {
      await this.control(opened, 'BEGIN');
      const result = await session.run(work);
      await this.commit(session);
      return result;
    } catch (error) {
      session.end();
      await rollBack(opened);
      throw error;
    } finally {
      opened.session = undefined;
      opened.slot.release();
    }
  }

  figures(): PoolFigures {
    return this.opened?.slot.figures() ?? { size: 0, idle: 0, waiting: 0, max: 1 };
  }

  async check(signal: AbortSignal): Promise<CheckResult> {
    const { opened } = this;
    if (opened === undefined) return { status: 'unhealthy', message: 'The database is not open' };
    const reason = unusable(opened);
    if (reason !== undefined) return { status: 'unhealthy', message: reason.message };
    const details = { ...this.figures() };
    if (!opened.slot.tryAcquire()) return busyReport(opened, this.clock.monotonic(), this.acquireTimeout);
    try {
      await untilAborted(opened.client.query('SELECT 1'), signal);
      opened.lastSuccess = this.clock.monotonic();
      return { status: 'healthy', details };
    } catch {
      return { status: 'unhealthy', message: 'The database does not answer', details };
    } finally {
      opened.slot.release();
    }
  }

  close(deadline: number): Promise<void> {
    this.generation++;
    this.closing ??= this.stop(deadline).finally(() => (this.closing = undefined));
    return this.closing;
  }

  /** @param generation of the moment `open` was called: a later `close` wins. */
  private async start(context: OpenContext, generation: number): Promise<void> {
    const { clock } = this;
    await this.closing;
    const database = await openDatabase(this.directory, context, this.name);
    if (generation !== this.generation) {
      await this.destroy(database);
      throw this.closedError('open');
    }
    const slot = new Slot({ clock, component: this.name, acquireTimeout: this.acquireTimeout });
    const maintenance = new Maintenance(database.client, slot);
    this.opened = {
      ...database,
      slot,
      maintenance,
      session: undefined,
      lastSuccess: clock.monotonic(),
      host: hostClient(database.client, slot, this.name),
    };
  }

  private async stop(deadline: number): Promise<void> {
    // An opening that is still under way sees the new generation, and closes what it opened.
    if (this.opening !== undefined)
      await this.within(
        deadline,
        this.opening.catch(() => undefined),
      );
    const { opened } = this;
    if (opened === undefined) return;
    this.opened = undefined;
    opened.slot.close();
    if (!(await opened.slot.free(deadline))) opened.session?.cut(this.closedError());
    await this.destroy(opened);
  }

  private async destroy(database: Database): Promise<void> {
    const closed = closeDatabase(database).then(() => true);
    // A database that does not end keeps its lock until the process ends: nobody else may open its files.
    if (await this.within(this.clock.monotonic() + CLOSE_GRACE, closed)) await database.lock?.release();
  }

  private within<R>(deadline: number, promise: Promise<R>): Promise<R | undefined> {
    return new Promise((resolve) => {
      const timer = this.clock.after(timerDelay(deadline - this.clock.monotonic()), () => resolve(undefined));
      void promise.then(resolve).finally(() => timer.cancel());
    });
  }

  private async operate<R>(
    operation: string,
    context: OperationContext,
    run: (client: PGlite) => Promise<R>,
  ): Promise<R> {
    if (context.session !== undefined) return this.inSession(context.session, operation, context, run);
    const opened = this.require(operation);
    const turn = opened.slot.acquire(context);
    if (turn !== undefined) await turn;
    try {
      const result = await run(opened.client);
      opened.lastSuccess = this.clock.monotonic();
      if (inTransaction(opened)) throw this.controlStatementError(operation);
      return result;
    } catch (error) {
      const fault = this.mapped(opened, error, operation);
      // What others did next would be rolled back with a transaction that a statement left open.
      if (inTransaction(opened)) await rollBack(opened);
      throw fault;
    } finally {
      opened.slot.release();
    }
  }

  private async inSession<R>(
    session: Session,
    operation: string,
    context: OperationContext,
    run: (client: PGlite) => Promise<R>,
  ): Promise<R> {
    if (!(session instanceof PgliteSession) || session.pool !== this)
      throw new ValidationError('VALIDATION', 'The session belongs to another database', {
        component: this.name,
        operation,
      });
    const { opened } = session;
    const refusal = session.refusal(context) ?? unusable(opened);
    if (refusal !== undefined) throw refusal;
    try {
      // PGlite runs the statements one after another, in the order of these calls.
      const result = await run(opened.client);
      opened.lastSuccess = this.clock.monotonic();
      if (!inTransaction(opened)) throw session.refusal() ?? this.controlStatementError(operation);
      return result;
    } catch (error) {
      // The statements after a failed one fail too (25P02): what went wrong is the first error.
      session.failure ??= this.mapped(opened, error, operation);
      throw session.failure;
    }
  }

  private async commit(session: PgliteSession): Promise<void> {
    const refusal = session.refusal() ?? unusable(session.opened);
    session.end();
    if (refusal !== undefined) throw refusal;
    const command = await this.control(session.opened, 'COMMIT');
    // A statement that was not awaited may have failed since: PostgreSQL then answers COMMIT with ROLLBACK.
    if (command !== 'COMMIT')
      throw (
        session.failure ??
        new StorageError('INTERNAL', 'The database rolled the transaction back', { component: this.name })
      );
    session.opened.lastSuccess = this.clock.monotonic();
  }

  private async control(opened: Opened, statement: 'BEGIN' | 'COMMIT'): Promise<string | undefined> {
    try {
      const [result] = await opened.client.exec(statement);
      return result?.command;
    } catch (error) {
      const fault = this.mapped(opened, error, 'transaction');
      if (statement === 'BEGIN' || opened.stopped === undefined) throw fault;
      throw new StorageError('OUTCOME_UNKNOWN', 'The database engine stopped during the commit', {
        component: this.name,
        cause: error,
      });
    }
  }

  private controlStatementError(operation: string): ValidationError {
    return new ValidationError('VALIDATION', 'Transactions are begun and ended by transaction(), not by a statement', {
      component: this.name,
      operation,
    });
  }

  private mapped(opened: Opened, error: unknown, operation: string): StorageError {
    const fault = mapError(error, this.name, operation);
    if (stopsTheEngine(error)) {
      opened.stopped ??= new UnavailableError('The database engine stopped; it has to be closed and opened again', {
        component: this.name,
        retryable: false,
        cause: error,
      });
      opened.slot.close(opened.stopped);
    }
    return fault;
  }

  private require(operation: string): Opened {
    if (this.opened === undefined) throw this.closedError(operation);
    const reason = unusable(this.opened);
    if (reason !== undefined) throw reason;
    return this.opened;
  }

  private closedError(operation?: string): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.name, operation });
  }
}
