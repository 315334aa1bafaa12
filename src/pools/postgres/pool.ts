/**
 * The pool over a PostgreSQL server. It owns the clients of the package `pg` itself: `pg.Pool` sets a timer for each use,
 * takes its listener off a client in use, and its end waits for clients that never come back.
 */
import type { Clock } from '../../clock.js';
import type { CheckResult, OpenContext, OperationContext, Session } from '../../component.js';
import { isStorageError, StorageError, ValidationError } from '../../errors.js';
import type {
  PoolEnvironment,
  PoolFigures,
  RawClient,
  SqlPool,
  SqlResult,
  SqlValue,
  TransactionOptions,
} from '../pool.js';
import { isAbortedTransaction } from '../sqlstate.js';
import { Connector } from './connect.js';
import { Connections } from './connections.js';
import { isReadOnly, isStalePlan, mapError } from './errors.js';
import { healthOf } from './health.js';
import { createHostPool } from './host-pool.js';
import { type HostPool, type Library, loadLibrary } from './library.js';
import { commitFault, statementFault } from './outcome.js';
import { Probe } from './probe.js';
import { Runner } from './runner.js';
import { PostgresSession } from './session.js';
import type { PostgresOptions } from './settings.js';
import { Statement } from './statement.js';
import { encodeAll } from './values.js';

interface Opened {
  readonly library: Library;
  readonly connections: Connections;
  readonly probe: Probe;
  readonly runner: Runner;
  hostPool: HostPool | undefined;
}

export class PostgresPool implements SqlPool {
  readonly dialect = 'postgres';
  readonly durable = true;
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
        opened.hostPool = createHostPool(opened.library, opened.connections, this.#options.pooler === 'transaction');
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
    options?: { readonly name?: string },
  ): Promise<SqlResult> {
    const values = encodeAll(parameters);
    if (context.session !== undefined) {
      const session = this.#own(context.session, 'query');
      return this.#inSession(session, 'query', context, (runner) => runner.statement(text, values, options?.name));
    }
    const opened = this.#require('query');
    const statement = opened.runner.statement(text, values, options?.name);
    // A signal ends the connection, which is then nobody else's.
    const shares = this.#options.pipeline && context.signal === undefined;
    try {
      return await this.#alone(opened, 'query', context, statement, shares);
    } catch (error) {
      if (!isStalePlan((error as StorageError).cause)) throw error;
      return this.#alone(opened, 'query', context, opened.runner.statement(text, values));
    }
  }

  async script(text: string, context: OperationContext): Promise<void> {
    if (context.session !== undefined) {
      const session = this.#own(context.session, 'script');
      await this.#inSession(session, 'script', context, () => new Statement(text));
    } else {
      await this.#alone(this.#require('script'), 'script', context, new Statement(text));
    }
  }

  async transaction<R>(
    { isolation = 'serializable', context }: TransactionOptions,
    work: (session: Session) => Promise<R>,
  ): Promise<R> {
    const { connections, runner } = this.#require('transaction');
    const connection = await connections.take(context);
    const limit = runner.transactionLimit(connection, context);
    const session = new PostgresSession(this, connection, isolation, limit, context, this.#clock);
    try {
      const result = await session.run(work);
      await this.#commit(session);
      return result;
    } catch (error) {
      const cut = session.refusal();
      session.end();
      // Its time is over: what still runs is not waited for.
      if (connection.busy && isStorageError(cut) && cut !== session.failure) connection.destroy(cut);
      await session.idle();
      throw error;
    } finally {
      if (connection.status === 'I' || connection.endedBy !== undefined) connections.release(connection);
      else await connections.clean(connection, 'ROLLBACK');
    }
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
      this.clockOffset = measure.clockOffset;
      if (measure.readOnly) connections.distrust();
      return healthOf(measure, connections);
    } catch (error) {
      return healthOf(error as StorageError, connections);
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
    const probe = new Probe(connector, this.#clock, this.name);
    const onAbort = (): void => generation.abort(context.signal.reason);
    context.signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (context.signal.aborted) onAbort();
      const { signal } = generation;
      const [{ clockOffset }] = await Promise.all([
        probe.measure(signal),
        connections.warm(Math.max(1, this.#options.pool.min), signal),
      ]);
      if (signal.aborted) throw this.#closedError('open');
      this.clockOffset = clockOffset;
      const runner = new Runner(library, this.#options, this.#clock);
      this.#opened = { library, connections, probe, runner, hostPool: undefined };
    } catch (error) {
      const reason = this.#closedError('open');
      await Promise.all([connections.close(0, reason), probe.close()]);
      throw this.#generation === generation ? error : reason;
    } finally {
      context.signal.removeEventListener('abort', onAbort);
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

  /** One statement on a connection of its own. */
  async #alone(
    { connections, runner }: Opened,
    operation: string,
    context: OperationContext,
    statement: Statement,
    shares = false,
  ): Promise<SqlResult> {
    const connection = await (shares ? connections.takeShared(context) : connections.take(context));
    try {
      const result = await runner.run(connection, statement, context);
      if (statement.status !== 'I') throw this.#controlStatementError(operation);
      return result;
    } catch (error) {
      if (isReadOnly(error)) connections.evictAll();
      if (isStalePlan(error)) connection.obsolete = true;
      throw statementFault(error, statement, connection, this.name, operation);
    } finally {
      connections.release(connection);
    }
  }

  #inSession(
    session: PostgresSession,
    operation: string,
    context: OperationContext,
    make: (runner: Runner) => Statement,
  ): Promise<SqlResult> {
    return session.inTurn(async () => {
      const refusal = session.refusal(context);
      if (refusal !== undefined) throw refusal;
      const { connections, runner } = this.#require(operation);
      const { connection } = session;
      const statement = make(runner);
      statement.preface = session.preface();
      try {
        const result = await runner.runInSession(connection, statement, context);
        if (connection.status === 'I') throw session.refusal() ?? this.#controlStatementError(operation);
        return result;
      } catch (error) {
        if (isReadOnly(error)) connections.evictAll();
        if (isStalePlan(error)) connection.obsolete = true;
        // The statements after a failed one fail too: what went wrong is the first error.
        const known = isAbortedTransaction(error) ? session.failure : undefined;
        session.failure = known ?? session.failure ?? mapError(error, this.name, operation);
        throw session.failure;
      }
    });
  }

  async #commit(session: PostgresSession): Promise<void> {
    await session.idle();
    const refusal = session.refusal();
    session.end();
    if (refusal !== undefined) throw refusal;
    if (!session.hasBegun) return;
    const { connection } = session;
    const statement = new Statement('COMMIT');
    statement.deadline = session.deadline;
    try {
      await connection.run(statement);
    } catch (error) {
      throw commitFault(error, statement, connection, this.name);
    }
    if (statement.tag !== 'COMMIT')
      throw (
        session.failure ??
        new StorageError('INTERNAL', 'The database rolled the transaction back', { component: this.name })
      );
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

  #controlStatementError(operation: string): ValidationError {
    return new ValidationError('VALIDATION', 'Transactions are begun and ended by transaction(), not by a statement', {
      component: this.name,
      operation,
    });
  }

  #closedError(operation?: string): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.name, operation });
  }
}
