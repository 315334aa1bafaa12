/** PostgreSQL inside the process: PGlite, with one connection, in a directory or in memory. */
import { resolve } from 'node:path';
import type { PGlite, Results } from '@electric-sql/pglite';
import type { Clock } from '../clock.js';
import type { CheckResult, OpenContext, OperationContext, Session } from '../component.js';
import { StorageError, TimeoutError, ValidationError } from '../errors.js';
import { type Database, openDatabase } from './pglite-database.js';
import type {
  PoolDriver,
  PoolEnvironment,
  PoolFigures,
  SqlPool,
  SqlResult,
  SqlValue,
  TransactionOptions,
} from './pool.js';
import { boundsExceeded, Slot, timerDelay } from './slot.js';
import { fromSqlState, isDatabaseFault } from './sqlstate.js';

const MEMORY = ':memory:';
/** How long PGlite itself gets to close, after the work in flight was given its time. */
const CLOSE_GRACE = 5_000;

interface Opened extends Database {
  readonly slot: Slot;
  sessions: Set<PgliteSession>;
  lastSuccess: number;
}

class PgliteSession implements Session {
  failure: StorageError | undefined;
  /** Why it takes no more work. */
  ended: StorageError | undefined;
  /** Ends a transaction whose function still runs. */
  cut: (error: StorageError) => void = () => undefined;

  constructor(
    readonly pool: PglitePool,
    readonly opened: Opened,
    readonly bounds: OperationContext,
  ) {}
}

class PglitePool implements SqlPool {
  readonly dialect = 'postgres';
  readonly name: string;
  private readonly clock: Clock;
  private opened: Opened | undefined;
  private opening: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private generation = 0;

  constructor(
    private readonly directory: string | undefined,
    private readonly acquireTimeout: number,
    environment: PoolEnvironment,
  ) {
    this.name = environment.name;
    this.clock = environment.clock;
  }

  get durable(): boolean {
    return this.directory !== undefined;
  }

  async open(context: OpenContext): Promise<void> {
    await this.closing;
    if (this.opened !== undefined) return;
    this.opening ??= this.start(context).finally(() => (this.opening = undefined));
    return this.opening;
  }

  query(text: string, parameters: readonly SqlValue[], context: OperationContext): Promise<SqlResult> {
    return this.operate('query', context, async (client) => {
      const result = await client.query<Record<string, unknown>>(text, parameters as unknown[]);
      this.requireAnswer(result);
      return { rows: result.rows, affected: result.affectedRows ?? 0 };
    });
  }

  script(text: string, context: OperationContext): Promise<void> {
    return this.operate('script', context, async (client) => {
      await client.exec(text);
    });
  }

  async transaction<R>(options: TransactionOptions, work: (session: Session) => Promise<R>): Promise<R> {
    const opened = this.require('transaction');
    const { context } = options;
    const turn = opened.slot.acquire(context);
    if (turn !== undefined) await turn;
    const session = new PgliteSession(this, opened, context);
    opened.sessions.add(session);
    try {
      await opened.client.exec('BEGIN');
      const result = await this.bounded(session, work);
      await this.commit(session);
      return result;
    } catch (error) {
      session.ended ??= this.endedError();
      // A database that was closed under the transaction has rolled back already.
      await opened.client.exec('ROLLBACK').catch(() => undefined);
      throw isDatabaseFault(error) ? fromSqlState(error, this.name, 'transaction') : error;
    } finally {
      opened.sessions.delete(session);
      opened.slot.release();
    }
  }

  figures(): PoolFigures {
    return this.opened?.slot.figures() ?? { size: 0, idle: 0, waiting: 0, max: 1 };
  }

  async check(signal: AbortSignal): Promise<CheckResult> {
    const { opened } = this;
    if (opened === undefined) return { status: 'unhealthy', message: 'The database is not open' };
    if (opened.lock?.lost !== undefined) return { status: 'unhealthy', message: opened.lock.lost.message };
    const details = this.figures();
    const now = this.clock.monotonic();
    if (!opened.slot.tryAcquire()) return this.busyReport(opened, now);
    try {
      await untilAborted(opened.client.query('SELECT 1'), signal);
      opened.lastSuccess = this.clock.monotonic();
      return { status: 'healthy', details: { ...details } };
    } catch {
      return { status: 'unhealthy', message: 'The database does not answer', details: { ...details } };
    } finally {
      opened.slot.release();
    }
  }

  close(deadline: number): Promise<void> {
    this.generation++;
    this.closing ??= this.stop(deadline).finally(() => (this.closing = undefined));
    return this.closing;
  }

  private async start(context: OpenContext): Promise<void> {
    const { generation } = this;
    const database = await openDatabase(this.directory, context, this.name);
    const { clock } = this;
    const opened: Opened = {
      ...database,
      slot: new Slot({ clock, component: this.name, acquireTimeout: this.acquireTimeout }),
      sessions: new Set(),
      lastSuccess: clock.monotonic(),
    };
    if (generation !== this.generation) {
      await this.destroy(opened);
      throw this.closedError('open');
    }
    this.opened = opened;
  }

  private async stop(deadline: number): Promise<void> {
    const { opening } = this;
    if (opening !== undefined)
      await this.within(
        deadline,
        opening.catch(() => undefined),
      );
    const { opened } = this;
    if (opened === undefined) return;
    this.opened = undefined;
    opened.slot.close();
    if (!(await opened.slot.free(deadline))) for (const session of opened.sessions) session.cut(this.closedError());
    await this.destroy(opened);
  }

  private async destroy({ client, lock }: Database): Promise<void> {
    const closed = client.close().then(
      () => true,
      () => true,
    );
    // A database that still runs keeps its lock until the process ends.
    if (await this.within(this.clock.monotonic() + CLOSE_GRACE, closed)) await lock?.release();
  }

  private within<R>(deadline: number, promise: Promise<R>): Promise<R | undefined> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(timerDelay(deadline - this.clock.monotonic()), () => resolve(undefined));
      promise.then(resolve, reject).finally(() => timer.cancel());
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
      if (opened.client.isInTransaction()) await this.refuseOpenTransaction(opened.client, operation);
      return result;
    } catch (error) {
      throw this.mapped(error, operation);
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
    const now = this.clock.monotonic();
    const refusal =
      session.ended ??
      session.failure ??
      boundsExceeded(context, now, this.name) ??
      boundsExceeded(session.bounds, now, this.name);
    if (refusal !== undefined) throw refusal;
    const { opened } = session;
    try {
      // PGlite runs the statements one after another, in the order of these calls.
      const result = await run(opened.client);
      opened.lastSuccess = this.clock.monotonic();
      if (!opened.client.isInTransaction()) throw this.transactionStatementError(operation);
      return result;
    } catch (error) {
      session.failure ??= this.mapped(error, operation);
      throw session.failure;
    }
  }

  /** Runs `work` until it settles, or until the transaction's bounds or the pool's closing end it. */
  private bounded<R>(session: PgliteSession, work: (session: Session) => Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      const { deadline, signal } = session.bounds;
      const cut = (error: StorageError): void => {
        session.ended ??= error;
        finish();
        reject(error);
      };
      const onAbort = (): void => cut(boundsExceeded(session.bounds, 0, this.name)!);
      const timer = this.clock.after(timerDelay(deadline - this.clock.monotonic()), () =>
        cut(new TimeoutError('The deadline of the transaction has passed', { component: this.name })),
      );
      const finish = (): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      session.cut = cut;
      signal?.addEventListener('abort', onAbort, { once: true });
      Promise.resolve(session).then(work).finally(finish).then(resolve, reject);
    });
  }

  private async commit(session: PgliteSession): Promise<void> {
    const refusal =
      session.failure ?? session.ended ?? boundsExceeded(session.bounds, this.clock.monotonic(), this.name);
    session.ended ??= this.endedError();
    if (refusal !== undefined) throw refusal;
    const [result] = await session.opened.client.exec('COMMIT');
    // A statement that was not awaited may have failed since: PostgreSQL then answers COMMIT with ROLLBACK.
    if (result?.command !== 'COMMIT')
      throw (
        session.failure ??
        new StorageError('INTERNAL', 'The transaction was rolled back by the database', { component: this.name })
      );
    session.opened.lastSuccess = this.clock.monotonic();
  }

  private async refuseOpenTransaction(client: PGlite, operation: string): Promise<never> {
    await client.exec('ROLLBACK');
    throw this.transactionStatementError(operation);
  }

  private transactionStatementError(operation: string): ValidationError {
    return new ValidationError('VALIDATION', 'Transactions are begun and ended by transaction(), not by a statement', {
      component: this.name,
      operation,
    });
  }

  private mapped(error: unknown, operation: string): StorageError {
    if (error instanceof StorageError) return error;
    if (isDatabaseFault(error)) {
      // PGlite adds the parameters to its errors: they are data, and may be secrets.
      Object.assign(error, { params: undefined, queryOptions: undefined });
      return fromSqlState(error, this.name, operation);
    }
    return new StorageError('INTERNAL', 'PGlite could not run the statement', {
      component: this.name,
      operation,
      cause: error,
    });
  }

  private requireAnswer(result: Results): void {
    if (result.command === undefined) throw new StorageError('INTERNAL', 'The database engine gave no answer');
  }

  private busyReport({ slot, lastSuccess }: Opened, now: number): CheckResult {
    const busy = Math.round(now - (slot.busySince ?? now));
    const silent = Math.round(now - lastSuccess);
    const details = { ...slot.figures(), busyFor: busy, sinceLastSuccess: silent };
    if (busy < this.acquireTimeout) return { status: 'healthy', details };
    const status = silent < this.acquireTimeout ? 'degraded' : 'unhealthy';
    return { status, message: `The only connection has been busy for ${busy} ms`, details };
  }

  private require(operation: string): Opened {
    if (this.opened === undefined) throw this.closedError(operation);
    if (this.opened.lock?.lost !== undefined) throw this.opened.lock.lost;
    return this.opened;
  }

  private closedError(operation?: string): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.name, operation });
  }

  private endedError(): StorageError {
    return new StorageError('CLOSED', 'The transaction has ended', { component: this.name });
  }
}

function untilAborted<R>(promise: Promise<R>, signal: AbortSignal): Promise<R> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.finally(() => signal.removeEventListener('abort', onAbort)).then(resolve, reject);
  });
}

function pathOf(url: string): string {
  return url.slice(url.indexOf(':') + 1);
}

export const pglite: PoolDriver<SqlPool> = {
  name: 'pglite',
  schemes: ['pglite'],
  backend: 'sql',
  vectors: 'pgvector',
  settings: {
    acquireTimeout: {
      doc: 'How long an operation waits for the one connection, in milliseconds, before UNAVAILABLE.',
      format: 'milliseconds',
      default: 5_000,
    },
  },
  checkUrl(url) {
    const path = pathOf(url);
    if (path === '') return 'a directory or :memory: is missing after pglite:';
    if (path.includes('\0')) return 'the directory contains a NUL character';
    if (path.startsWith('//')) return 'a directory is written pglite:./directory or pglite:/directory, without //';
    return undefined;
  },
  key(url, _options, name) {
    const path = pathOf(url);
    return path === MEMORY ? `pglite:${MEMORY}${name}` : `pglite:${resolve(path)}`;
  },
  create(url, options, environment) {
    const path = pathOf(url);
    const { acquireTimeout = 5_000 } = options as { acquireTimeout?: number };
    return new PglitePool(path === MEMORY ? undefined : resolve(path), acquireTimeout, environment);
  },
  tests: [{ name: 'pglite', url: `pglite:${MEMORY}` }],
};
