/**
 * The pool over a PostgreSQL server. It owns the clients of the package `pg` itself: `pg.Pool` sets a timer for each use,
 * takes its listener off a client in use, and its end waits for clients that never come back.
 */
import { listenToAbort } from '../../abort.js';
import type { Clock } from '../../clock.js';
import type { CheckResult, OpenContext, OperationContext, Session } from '../../component.js';
import { controlStatementError, isStorageError, StorageError, ValidationError } from '../../errors.js';
import { clockOffset } from '../clock-offset.js';
import type {
  CopyFormat,
  PoolEnvironment,
  PoolFigures,
  PostgresDialectPool,
  QueryOptions,
  RawClient,
  ScriptOptions,
  SqlResult,
  SqlValue,
  TransactionOptions,
} from '../pool.js';
import { untilBounds } from '../slot.js';
import { Connector } from './connect.js';
import { Connections } from './connections.js';
import { CopyStatement } from './copy.js';
import { isReadOnly, isStalePlan } from './errors.js';
import { healthOf } from './health.js';
import { createHostPool, hostPoolOptions } from './host-pool.js';
import { loadLibrary } from './library.js';
import { leave, leaveReadOnly, type Opened } from './opened.js';
import { statementFault } from './outcome.js';
import { Probe } from './probe.js';
import { Runner } from './runner.js';
import { PostgresSession } from './session.js';
import { runInSession } from './session-statement.js';
import type { PostgresOptions } from './settings.js';
import { Statement } from './statement.js';
import { encodeAll } from './values.js';

/** What statements get, in milliseconds, that run when the function of their transaction has failed. */
const GRACE = 50;

export class PostgresPool implements PostgresDialectPool {
  readonly dialect = 'postgres';
  readonly durable = true;
  readonly binary = true;
  readonly concurrent = true;
  readonly name: string;
  clockOffset = 0;
  readonly #options: PostgresOptions;
  readonly #clock: Clock;
  #opened: Opened | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #generation = new AbortController();

  constructor(options: PostgresOptions, environment: PoolEnvironment) {
    this.#options = options;
    this.name = environment.name;
    this.#clock = environment.clock;
  }

  readonly raw: RawClient = {
    language: 'sql',
    client: () => {
      const opened = this.#require('sql');
      if (opened.hostPool === undefined || opened.hostPool.ended)
        opened.hostPool = createHostPool(opened.library, opened.connections, hostPoolOptions(this.#options));
      return opened.hostPool;
    },
  };

  open(context: OpenContext): Promise<void> {
    if (this.#opened !== undefined) return Promise.resolve();
    this.#opening ??= this.#start(context, this.#generation).finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async query(
    text: string,
    parameters: readonly SqlValue[],
    context: OperationContext,
    options?: QueryOptions,
  ): Promise<SqlResult> {
    const values = encodeAll(parameters);
    if (context.session !== undefined) {
      const session = this.#own(context.session, 'query');
      const make = (runner: Runner): Statement => runner.statement(text, values, options?.name);
      return runInSession(session, 'query', context, () => this.#require('query'), make, options?.untold);
    }
    const opened = this.#require('query');
    const settings = options?.settings;
    const statement = opened.runner.statement(text, values, options?.name, settings);
    // A signal ends the connection, and an error leaves a transaction open, which is then nobody else's.
    const shares = this.#options.pipeline && context.signal === undefined && settings === undefined;
    try {
      return await this.#alone(opened, 'query', context, statement, shares);
    } catch (error) {
      if (!isStalePlan((error as StorageError).cause)) throw error;
      return this.#alone(opened, 'query', context, opened.runner.statement(text, values, undefined, settings));
    }
  }

  async script(text: string, context: OperationContext, options?: ScriptOptions): Promise<void> {
    const session = context.session === undefined ? undefined : this.#own(context.session, 'script');
    if (session?.defer(text, context) === true) return;
    if (session !== undefined && options?.foreign === true) session.connection.obsolete = true;
    await this.#once('script', context, new Statement(text));
  }

  async copyIn(
    target: string,
    rows: Iterable<string | Uint8Array>,
    context: OperationContext,
    format?: CopyFormat,
  ): Promise<void> {
    await this.#once('copyIn', context, new CopyStatement(target, rows, context.session !== undefined, format));
  }

  async transaction<R>(
    { isolation = 'serializable', context }: TransactionOptions,
    work: (session: Session) => Promise<R>,
  ): Promise<R> {
    const opened = this.#require('transaction');
    const { connections, runner } = opened;
    const connection = await connections.take(context);
    const limit = runner.transactionLimit(connection, context);
    const session = new PostgresSession(this, connection, isolation, limit, context, this.#clock);
    try {
      const result = await session.run(work);
      await session.commit((on, statement) => runner.runInSession(on, statement, context));
      return result;
    } catch (error) {
      if (isStorageError(error) && isReadOnly(error.cause)) leaveReadOnly(opened, connection);
      const cut = session.refusal();
      session.end();
      // Its time is over: what still runs is not waited for.
      if (connection.busy && isStorageError(cut) && cut !== session.failure) connection.destroy(cut);
      // Nothing of it is kept: a statement that is not done soon may wait for a lock for as long as the caller gave it.
      if (connection.busy)
        await untilBounds(session.idle(), { deadline: this.#clock.monotonic() + GRACE }, this.#clock);
      if (connection.busy) connection.destroy(session.refusal()!);
      await session.idle();
      throw error;
    } finally {
      if (connection.status === 'I' || connection.endedBy !== undefined) connections.release(connection);
      // It is undone when its caller hears of the end, unless the server takes longer than the caller gave.
      else await untilBounds(connections.clean(connection, 'ROLLBACK'), context, this.#clock);
    }
  }

  async savepoint<R>(session: Session, work: () => Promise<R>): Promise<R> {
    return this.#own(session, 'transaction').savepoint(work);
  }

  figures(): PoolFigures {
    return this.#opened?.connections.figures() ?? { size: 0, idle: 0, waiting: 0, max: this.#options.pool.max };
  }

  async check(signal: AbortSignal): Promise<CheckResult> {
    const opened = this.#opened;
    if (opened === undefined) return { status: 'unhealthy', message: 'The database is not open' };
    const { connections, probe } = opened;
    try {
      const measure = await probe.measure(signal);
      this.clockOffset = clockOffset(measure, this.clockOffset);
      // The server was promoted or demoted, or the address leads to another.
      if (opened.readOnly !== measure.readOnly) leave(opened);
      opened.readOnly = measure.readOnly;
      return healthOf(measure, connections, this.clockOffset);
    } catch (error) {
      return healthOf(error as StorageError, connections, this.clockOffset);
    }
  }

  close(deadline: number): Promise<void> {
    this.#generation.abort(this.#closedError());
    this.#generation = new AbortController();
    this.#closing ??= this.#stop(deadline).finally(() => (this.#closing = undefined));
    return this.#closing;
  }

  async #start(context: OpenContext, generation: AbortController): Promise<void> {
    await this.#closing;
    const library = await loadLibrary(this.name);
    const connector = new Connector(library, this.#options, this.#clock, this.name);
    const connections = new Connections(connector, this.#options, this.#clock, this.name);
    const probe = new Probe(connector, this.#options.pool.lifetime, this.#clock, this.name);
    const opening = new AbortController();
    const onAbort = (): void => opening.abort(this.#closedError('open'));
    const signals = [context.signal, generation.signal];
    const listening = signals.map((one) => listenToAbort(one, onAbort));
    try {
      if (signals.some(({ aborted }) => aborted)) onAbort();
      const { signal } = opening;
      const [measure] = await Promise.all([
        probe.measure(signal),
        connections.warm(Math.max(1, this.#options.pool.min), signal),
      ]);
      if (signal.aborted) throw this.#closedError('open');
      this.clockOffset = clockOffset(measure);
      const runner = new Runner(library, this.#options, this.#clock);
      this.#opened = { library, connections, probe, runner, hostPool: undefined, readOnly: measure.readOnly };
    } catch (error) {
      const reason = this.#closedError('open');
      await Promise.all([connections.close(0, reason), probe.close()]);
      throw this.#generation === generation ? error : reason;
    } finally {
      for (const unlisten of listening) unlisten();
    }
  }

  async #stop(deadline: number): Promise<void> {
    // An opening that is under way was aborted, and closes what it opened.
    await this.#opening?.catch(() => undefined);
    const opened = this.#opened;
    if (opened === undefined) return;
    this.#opened = undefined;
    if (opened.hostPool !== undefined) opened.hostPool.ending = opened.hostPool.ended = true;
    await Promise.all([opened.connections.close(deadline, this.#closedError()), opened.probe.close()]);
  }

  #once(operation: string, context: OperationContext, statement: Statement): Promise<SqlResult> {
    const { session } = context;
    if (session === undefined) return this.#alone(this.#require(operation), operation, context, statement);
    const own = this.#own(session, operation);
    return runInSession(
      own,
      operation,
      context,
      () => this.#require(operation),
      () => statement,
    );
  }

  /** One statement on a connection of its own. */
  async #alone(
    opened: Opened,
    operation: string,
    context: OperationContext,
    statement: Statement,
    shares = false,
  ): Promise<SqlResult> {
    const { connections, runner } = opened;
    const connection = await (shares ? connections.takeShared(context) : connections.take(context));
    try {
      const result = await runner.run(connection, statement, context);
      if (statement.status !== 'I') throw controlStatementError(this.name, operation);
      return result;
    } catch (error) {
      if (isReadOnly(error)) leaveReadOnly(opened, connection);
      if (isStalePlan(error)) connection.obsolete = true;
      throw statementFault(error, statement, connection, this.name, operation);
    } finally {
      connections.release(connection);
    }
  }

  #own(session: Session, operation: string): PostgresSession {
    if (session instanceof PostgresSession && session.pool === this) return session;
    throw new ValidationError('VALIDATION', 'The session belongs to another database', {
      component: this.name,
      operation,
    });
  }

  #require(operation: string): Opened {
    if (this.#opened === undefined) throw this.#closedError(operation);
    return this.#opened;
  }

  #closedError(operation?: string): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.name, operation });
  }
}
