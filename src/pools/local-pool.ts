/**
 * A pool over one connection inside this process: its opening and closing, the turns on the connection, transactions. What
 * a statement is, and how it runs, is the engine's.
 */
import { type Clock, timerDelay } from '../clock.js';
import type { CheckResult, OpenContext, OperationContext, Session } from '../component.js';
import { isStorageError, StorageError, ValidationError } from '../errors.js';
import { LocalSession } from './local-session.js';
import type { Pool, PoolEnvironment, PoolFigures, TransactionOptions } from './pool.js';
import { type Savepoint, withSavepoint } from './savepoint.js';
import { Slot, untilAborted } from './slot.js';

/** An open database of the engine's type `D`. */
export interface Opened<D> {
  readonly database: D;
  readonly slot: Slot;
  /** The transaction that has the slot. */
  session: LocalSession | undefined;
  lastSuccess: number;
}

class OwnSession<D> extends LocalSession {
  constructor(
    pool: Pool,
    readonly opened: Opened<D>,
    bounds: OperationContext,
    clock: Clock,
  ) {
    super(pool, bounds, clock);
  }
}

export abstract class LocalPool<D> implements Pool {
  readonly name: string;
  protected readonly clock: Clock;
  protected opened: Opened<D> | undefined;
  private opening: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private generation = 0;

  constructor(
    private readonly acquireTimeout: number,
    environment: PoolEnvironment,
  ) {
    this.name = environment.name;
    this.clock = environment.clock;
  }

  /** When it rejects it has closed whatever it opened. */
  protected abstract openDatabase(context: OpenContext, slot: Slot): Promise<D>;
  /** Ends soon, also when the engine does not; never rejects. */
  protected abstract destroy(database: D): Promise<void>;
  /** Why no statement may be sent any more. */
  protected abstract unusable(database: D): StorageError | undefined;
  /** @throws why the database does not work. */
  protected abstract ping(database: D): Promise<unknown>;
  protected abstract begin(opened: Opened<D>): Promise<void>;
  protected abstract commit(opened: Opened<D>, session: LocalSession, context: OperationContext): Promise<void>;
  /** Runs statements about savepoints of the transaction. */
  protected abstract mark(opened: Opened<D>, script: string): Promise<void>;
  /** Never rejects. */
  protected abstract rollBack(database: D): Promise<void>;

  open(context: OpenContext): Promise<void> {
    if (this.opened !== undefined) return Promise.resolve();
    this.opening ??= this.start(context, this.generation).finally(() => (this.opening = undefined));
    return this.opening;
  }

  async transaction<R>({ context }: TransactionOptions, work: (session: Session) => Promise<R>): Promise<R> {
    const opened = await this.enter(context);
    const session = new OwnSession(this, opened, context, this.clock);
    opened.session = session;
    try {
      const result = await session.run(work);
      await session.turns.idle();
      const refusal = session.refusal() ?? this.unusable(opened.database);
      session.end();
      if (refusal !== undefined) throw refusal;
      await this.commit(opened, session, context);
      opened.lastSuccess = this.clock.monotonic();
      return result;
    } catch (error) {
      session.end();
      await this.rollBack(opened.database);
      throw error;
    } finally {
      opened.session = undefined;
      opened.slot.release();
    }
  }

  async savepoint<R>(session: Session, work: () => Promise<R>): Promise<R> {
    const own = this.ownSession(session, 'transaction');
    const mark = (script: string): Promise<void> => this.mark(own.opened, script);
    const set = async (name: string): Promise<Savepoint> => {
      await mark(`SAVEPOINT ${name}`);
      return {
        release: () => mark(`RELEASE SAVEPOINT ${name}`),
        undo: () => mark(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`),
      };
    };
    return withSavepoint(own, set, work);
  }

  figures(): PoolFigures {
    return this.opened?.slot.figures() ?? { size: 0, idle: 0, waiting: 0, max: 1 };
  }

  async check(signal: AbortSignal): Promise<CheckResult> {
    const { opened } = this;
    if (opened === undefined) return { status: 'unhealthy', message: 'The database is not open' };
    const reason = this.unusable(opened.database);
    if (reason !== undefined) return { status: 'unhealthy', message: reason.message, final: true };
    const details = { ...this.figures() };
    if (!opened.slot.tryAcquire()) return this.busyReport(opened);
    try {
      await untilAborted(this.ping(opened.database), signal);
      opened.lastSuccess = this.clock.monotonic();
      return { status: 'healthy', details };
    } catch (error) {
      const message = isStorageError(error) ? error.message : 'The database does not answer';
      return { status: 'unhealthy', message, details };
    } finally {
      opened.slot.release();
    }
  }

  close(deadline: number): Promise<void> {
    this.generation++;
    this.closing ??= this.stop(deadline).finally(() => (this.closing = undefined));
    return this.closing;
  }

  /** Takes the turn and begins a transaction; when it rejects the turn is given back. */
  protected async enter(context: OperationContext): Promise<Opened<D>> {
    const opened = this.require('transaction');
    const turn = opened.slot.acquire(context);
    if (turn !== undefined) await turn;
    try {
      await this.begin(opened);
      return opened;
    } catch (error) {
      await this.rollBack(opened.database);
      opened.slot.release();
      throw error;
    }
  }

  /** The session, when it is this pool's and an operation may run in it. */
  protected ownSession(session: Session, operation: string, context?: OperationContext): OwnSession<D> {
    if (!(session instanceof OwnSession) || session.pool !== this)
      throw new ValidationError('VALIDATION', 'The session belongs to another database', {
        component: this.name,
        operation,
      });
    const own = session as OwnSession<D>;
    const refusal = (context === undefined ? own.refusal() : own.admit(context)) ?? this.unusable(own.opened.database);
    if (refusal !== undefined) throw refusal;
    return own;
  }

  protected require(operation: string): Opened<D> {
    if (this.opened === undefined) throw this.closedError(operation);
    const reason = this.unusable(this.opened.database);
    if (reason !== undefined) throw reason;
    return this.opened;
  }

  protected within<R>(deadline: number, promise: Promise<R>): Promise<R | undefined> {
    return new Promise((resolve) => {
      const timer = this.clock.after(timerDelay(deadline - this.clock.monotonic()), () => resolve(undefined));
      void promise.then(resolve).finally(() => timer.cancel());
    });
  }

  /** @param generation of the moment `open` was called: a later `close` wins. */
  private async start(context: OpenContext, generation: number): Promise<void> {
    const { clock, acquireTimeout } = this;
    await this.closing;
    const slot = new Slot({ clock, component: this.name, acquireTimeout });
    const database = await this.openDatabase(context, slot);
    if (generation !== this.generation) {
      await this.destroy(database);
      throw this.closedError('open');
    }
    this.opened = { database, slot, session: undefined, lastSuccess: clock.monotonic() };
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
    await this.destroy(opened.database);
  }

  private busyReport({ slot, lastSuccess }: Opened<D>): CheckResult {
    const now = this.clock.monotonic();
    const busyFor = Math.round(now - (slot.busySince ?? now));
    const sinceLastSuccess = Math.round(now - lastSuccess);
    const details = { ...slot.figures(), busyFor, sinceLastSuccess };
    if (busyFor < this.acquireTimeout) return { status: 'healthy', details };
    const status = sinceLastSuccess < this.acquireTimeout ? 'degraded' : 'unhealthy';
    return { status, message: `The only connection has been busy for ${busyFor} ms`, details };
  }

  private closedError(operation?: string): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.name, operation });
  }
}
