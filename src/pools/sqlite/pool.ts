/** The pool over SQLite: one handle, whose turns a slot gives out, and statements that run in the caller's own turn. */
import type { OpenContext, OperationContext } from '../../component.js';
import { controlStatementError, isStorageError, type StorageError, UnavailableError } from '../../errors.js';
import { LocalPool, type Opened } from '../local-pool.js';
import type { LocalSession } from '../local-session.js';
import { answeredInTurn } from '../loop-turn.js';
import type {
  PoolEnvironment,
  QueryOptions,
  RawClient,
  RunStatement,
  SqliteDialectPool,
  SqlResult,
  SqlValue,
} from '../pool.js';
import { boundsExceeded } from '../slot.js';
import { backUp } from './backup.js';
import { type Database, openDatabase, type SqliteOptions } from './database.js';
import type { EngineDatabase } from './engine.js';
import { isBusy, sqliteCode } from './errors.js';
import { LockQueue } from './lock-queue.js';
import { OpenFile } from './open-file.js';
import { onlyReads } from './statements.js';

/**
 * A statement runs to its end in one turn of the event loop: a deadline or a signal ends the wait for the connection, the
 * wait for another connection's lock, and a transaction between its statements.
 */
export class SqlitePool extends LocalPool<Database> implements SqliteDialectPool {
  readonly dialect = 'sqlite';
  private openFile: OpenFile | undefined;
  /** A reader that meets a lock, a rare one, does not wait for the writers' lock. */
  private readonly locks: Readonly<Record<'read' | 'write', LockQueue>>;
  readonly raw: RawClient = { language: 'sql', client: () => this.require('client').database.hostClient() };

  /** @param file absolute; `undefined`: in memory. */
  constructor(
    private readonly file: string | undefined,
    private readonly options: SqliteOptions,
    acquireTimeout: number,
    environment: PoolEnvironment,
  ) {
    super(acquireTimeout, environment);
    const { clock, name } = environment;
    this.locks = { read: new LockQueue(clock, name), write: new LockQueue(clock, name) };
  }

  get durable(): boolean {
    return this.file !== undefined;
  }

  query(
    text: string,
    parameters: readonly SqlValue[],
    context: OperationContext,
    options?: QueryOptions,
  ): Promise<SqlResult> {
    const run = (database: Database): SqlResult => database.query(text, parameters, 'query', options?.single);
    return this.operate('query', text, context, run);
  }

  script(text: string, context: OperationContext): Promise<void> {
    return this.operate('script', text, context, (database) => database.exec(text));
  }

  step<R>(access: 'read' | 'write', context: OperationContext, work: (run: RunStatement) => R): Promise<R> {
    const inside = context.session !== undefined;
    const [begin, end, undo] = inside
      ? ['SAVEPOINT step', 'RELEASE step', 'ROLLBACK TO step; RELEASE step']
      : [access === 'write' ? 'BEGIN IMMEDIATE' : 'BEGIN', 'COMMIT', 'ROLLBACK'];
    return this.operate('step', begin, context, (database) => {
      database.query(begin, [], 'step');
      try {
        const result = work((text, parameters) => database.query(text, parameters, 'step'));
        database.query(end, [], 'step');
        return result;
      } catch (error) {
        // Some faults (a full disk) have ended the transaction already.
        if (database.inTransaction) database.exec(undo, 'step');
        throw error;
      }
    });
  }

  async backup(file: string, context: OperationContext): Promise<number> {
    const { database, slot } = this.require('backup');
    const between = (): void => {
      this.require('backup');
      const over = boundsExceeded(context, this.clock.monotonic(), this.name);
      if (over !== undefined) throw over;
    };
    const turn = slot.acquire(context);
    if (turn !== undefined) await turn;
    let moment: EngineDatabase | undefined;
    try {
      moment = this.moment(database);
      // There is no other handle: the turn is kept to the end.
      if (moment === undefined) return await backUp(database.engine, file, this.name, between);
    } finally {
      slot.release();
    }
    try {
      return await backUp(moment, file, this.name, between);
    } finally {
      moment.close();
    }
  }

  protected async openDatabase(context: OpenContext): Promise<Database> {
    const database = await openDatabase(this.file, this.options, context, this.name);
    this.openFile = this.file === undefined ? undefined : new OpenFile(this.file);
    return database;
  }

  protected async destroy(database: Database): Promise<void> {
    database.close();
  }

  protected unusable(): StorageError | undefined {
    return undefined;
  }

  protected async ping(database: Database): Promise<void> {
    const { openFile } = this;
    // In memory the handle is the host's too, which may have a transaction open.
    if (openFile === undefined) return void database.query('SELECT 1', []);
    database.query('BEGIN', []);
    let fault: string | undefined;
    try {
      fault = openFile.fault(sizeOf(database));
    } finally {
      database.rollBack();
    }
    if (fault !== undefined) throw new UnavailableError(fault, { component: this.name, operation: 'check' });
  }

  protected override async enter(context: OperationContext): Promise<Opened<Database>> {
    const { write } = this.locks;
    const attempt = (): Promise<Opened<Database>> => super.enter(context);
    if (write.busy) return write.run(context, attempt);
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error)) throw error;
      return write.run(context, attempt, error);
    }
  }

  protected async begin({ database }: Opened<Database>): Promise<void> {
    // Immediate: a transaction that reads first and writes later would be refused at that write.
    database.query('BEGIN IMMEDIATE', [], 'transaction');
  }

  protected async commit(
    { database }: Opened<Database>,
    _session: LocalSession,
    context: OperationContext,
  ): Promise<void> {
    const commit = async (): Promise<void> => void database.query('COMMIT', [], 'transaction');
    try {
      await commit();
    } catch (error) {
      // Where the file system has no shared memory, and so no WAL, a reader can stand in the way.
      if (!isBusy(error)) throw error;
      await this.locks.read.retry(context, commit, error);
    }
  }

  protected async mark({ database }: Opened<Database>, script: string): Promise<void> {
    database.exec(script, 'transaction');
  }

  protected async rollBack(database: Database): Promise<void> {
    database.rollBack();
  }

  /**
   * The work itself does not wait for the loop to turn: it would lose its place among those that wait for the lock.
   * @param text of its first statement.
   */
  private operate<R>(
    operation: string,
    text: string,
    context: OperationContext,
    run: (database: Database) => R,
  ): Promise<R> {
    return answeredInTurn(this.perform(operation, text, context, run));
  }

  /** Not `async`: on a free connection the work runs before this returns. */
  private perform<R>(
    operation: string,
    text: string,
    context: OperationContext,
    run: (database: Database) => R,
  ): Promise<R> {
    try {
      if (context.session !== undefined) return Promise.resolve(this.inSession(operation, context, run));
      const opened = this.require(operation);
      if (this.locks.write.busy && !onlyReads(text)) return this.behindLock(operation, text, context, run);
      const turn = opened.slot.acquire(context);
      if (turn === undefined) return Promise.resolve(this.inTurn(opened, operation, run));
      return turn
        .then(() => this.inTurn(opened, operation, run))
        .catch((error: unknown) => this.afterBusy(error, operation, text, context, run));
    } catch (error) {
      return this.afterBusy(error, operation, text, context, run);
    }
  }

  private async afterBusy<R>(
    error: unknown,
    operation: string,
    text: string,
    context: OperationContext,
    run: (database: Database) => R,
  ): Promise<R> {
    if (context.session !== undefined || !isBusy(error)) throw error;
    return this.behindLock(operation, text, context, run, error);
  }

  /** The connection is free while it waits for the lock. */
  private behindLock<R>(
    operation: string,
    text: string,
    context: OperationContext,
    run: (database: Database) => R,
    refusal?: unknown,
  ): Promise<R> {
    const attempt = async (): Promise<R> => {
      const opened = this.require(operation);
      const turn = opened.slot.acquire(context);
      if (turn !== undefined) await turn;
      return this.inTurn(opened, operation, run);
    };
    return this.locks[onlyReads(text) ? 'read' : 'write'].run(context, attempt, refusal);
  }

  /** A handle that reads the database as it is now; `undefined` in memory, and where the file is no more what was opened. */
  private moment(database: Database): EngineDatabase | undefined {
    const { openFile } = this;
    if (openFile === undefined || openFile.fault(0) !== undefined) return undefined;
    return database.moment();
  }

  /** Runs with the turn, and gives it back. */
  private inTurn<R>(opened: Opened<Database>, operation: string, run: (database: Database) => R): R {
    const { database, slot } = opened;
    try {
      const result = run(database);
      if (database.inTransaction) throw controlStatementError(this.name, operation);
      opened.lastSuccess = slot.busySince!;
      return result;
    } catch (error) {
      // What others did next would be rolled back with a transaction that a statement left open.
      database.rollBack();
      throw error;
    } finally {
      slot.release();
    }
  }

  private inSession<R>(operation: string, context: OperationContext, run: (database: Database) => R): R {
    const session = this.ownSession(context.session!, operation, context);
    const { database } = session.opened;
    try {
      const result = run(database);
      if (!database.inTransaction) throw session.refusal() ?? controlStatementError(this.name, operation);
      session.opened.lastSuccess = this.clock.monotonic();
      return result;
    } catch (error) {
      if (isStorageError(error) && (!database.inTransaction || failsSession(error, operation)))
        session.failure ??= error;
      throw error;
    }
  }
}

/** In bytes; 0 while another process has it locked. */
function sizeOf(database: Database): number {
  const ask = (pragma: string): number => Number(Object.values(database.query(`PRAGMA ${pragma}`, []).rows[0]!)[0]);
  try {
    return ask('page_count') * ask('page_size');
  } catch (error) {
    if (!isBusy(error)) throw error;
    return 0;
  }
}

/**
 * As on a server: after an error of the database nothing of the transaction may be committed. Whoever runs a step is told of
 * a constraint, may try another way (the step has undone itself), and fails the session when there is none.
 */
function failsSession(error: StorageError, operation: string): boolean {
  return sqliteCode(error) !== undefined && !(operation === 'step' && error.code === 'ALREADY_EXISTS');
}
