/** The pool over SQLite: one handle, whose turns a slot gives out, and statements that run in the caller's own turn. */
import { sleep } from '../../clock.js';
import type { OpenContext, OperationContext } from '../../component.js';
import {
  controlStatementError,
  isStorageError,
  type StorageError,
  TimeoutError,
  UnavailableError,
} from '../../errors.js';
import { LocalPool, type Opened } from '../local-pool.js';
import type { LocalSession } from '../local-session.js';
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
import { backUp, BackupTurns } from './backup.js';
import { type Database, openDatabase, type SqliteOptions } from './database.js';
import { isBusy, sqliteCode } from './errors.js';
import { OpenFile } from './open-file.js';

/** The wait between two attempts on a database that another process has locked: it doubles, and differs at random. */
const FIRST_WAIT = 2;
const LONGEST_WAIT = 64;

/**
 * A statement runs to its end in one turn of the event loop: a deadline or a signal ends the wait for the connection, the
 * wait for another process's lock, and a transaction between its statements.
 */
export class SqlitePool extends LocalPool<Database> implements SqliteDialectPool {
  readonly dialect = 'sqlite';
  private openFile: OpenFile | undefined;
  readonly raw: RawClient = { language: 'sql', client: () => this.require('client').database.hostClient() };

  /** @param file absolute; `undefined`: in memory. */
  constructor(
    private readonly file: string | undefined,
    private readonly options: SqliteOptions,
    acquireTimeout: number,
    environment: PoolEnvironment,
  ) {
    super(acquireTimeout, environment);
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
    return this.operate('query', context, (database) => database.query(text, parameters, 'query', options?.single));
  }

  script(text: string, context: OperationContext): Promise<void> {
    return this.operate('script', context, (database) => database.exec(text));
  }

  step<R>(access: 'read' | 'write', context: OperationContext, work: (run: RunStatement) => R): Promise<R> {
    const inside = context.session !== undefined;
    const [begin, end, undo] = inside
      ? ['SAVEPOINT step', 'RELEASE step', 'ROLLBACK TO step; RELEASE step']
      : [access === 'write' ? 'BEGIN IMMEDIATE' : 'BEGIN', 'COMMIT', 'ROLLBACK'];
    return this.operate('step', context, (database) => {
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
    const turn = slot.acquire(context);
    if (turn !== undefined) await turn;
    const turns = new BackupTurns(slot, context);
    try {
      return await backUp(database.engine, file, this.name, () => {
        this.require('backup');
        const over = boundsExceeded(context, this.clock.monotonic(), this.name);
        if (over !== undefined) throw over;
        turns.next();
      });
    } finally {
      turns.end();
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
    try {
      return await super.enter(context);
    } catch (error) {
      if (!isBusy(error)) throw error;
      return this.again(context, error, () => super.enter(context));
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
      await this.again(context, error, commit);
    }
  }

  protected async mark({ database }: Opened<Database>, script: string): Promise<void> {
    database.exec(script, 'transaction');
  }

  protected async rollBack(database: Database): Promise<void> {
    database.rollBack();
  }

  /** Not `async`: on a free connection the work runs before this returns. */
  private operate<R>(operation: string, context: OperationContext, run: (database: Database) => R): Promise<R> {
    try {
      if (context.session !== undefined) return Promise.resolve(this.inSession(operation, context, run));
      const opened = this.require(operation);
      const turn = opened.slot.acquire(context);
      if (turn === undefined) return Promise.resolve(this.inTurn(opened, operation, run));
      return turn
        .then(() => this.inTurn(opened, operation, run))
        .catch((error: unknown) => this.afterBusy(error, operation, context, run));
    } catch (error) {
      return this.afterBusy(error, operation, context, run);
    }
  }

  private async afterBusy<R>(
    error: unknown,
    operation: string,
    context: OperationContext,
    run: (database: Database) => R,
  ): Promise<R> {
    if (context.session !== undefined || !isBusy(error)) throw error;
    return this.again(context, error, async () => {
      const opened = this.require(operation);
      const turn = opened.slot.acquire(context);
      if (turn !== undefined) await turn;
      return this.inTurn(opened, operation, run);
    });
  }

  /** Tries until the other process lets go. The connection is free meanwhile: readers need no lock. */
  private async again<R>(context: OperationContext, first: unknown, attempt: () => Promise<R>): Promise<R> {
    let error = first;
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      const remaining = context.deadline - this.clock.monotonic();
      await sleep(this.clock, Math.max(0, Math.min(wait * (0.5 + Math.random()), remaining)), context.signal);
      if (context.deadline <= this.clock.monotonic())
        throw new TimeoutError('Another process had the database locked until the deadline', {
          component: this.name,
          cause: error,
        });
      try {
        return await attempt();
      } catch (fault) {
        if (!isBusy(fault)) throw fault;
        error = fault;
      }
    }
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
