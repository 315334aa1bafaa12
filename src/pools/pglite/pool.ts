/** The pool over PGlite: one connection, whose turns a slot gives out. */
import { writeFile } from 'node:fs/promises';
import type { PGlite } from '@electric-sql/pglite';
import type { OpenContext, OperationContext } from '../../component.js';
import { controlStatementError, StorageError, UnavailableError } from '../../errors.js';
import { writeBackup } from '../backup-file.js';
import { beginWith } from '../statement-settings.js';
import { LocalPool, type Opened } from '../local-pool.js';
import { faultIn, type LocalSession } from '../local-session.js';
import { answeredInTurn } from '../loop-turn.js';
import type {
  CopyFormat,
  PoolEnvironment,
  PostgresDialectPool,
  QueryOptions,
  RawClient,
  SqlResult,
  SqlValue,
} from '../pool.js';
import type { Slot } from '../slot.js';
import { copyAlone, copyInSession, isUniqueViolation } from './copy.js';
import {
  closeDatabase,
  type Database,
  type DatabasePlace,
  inTransaction,
  openDatabase,
  rollBack,
  unusable,
} from './database.js';
import { mapError, stopsTheEngine } from './errors.js';
import { hostClient } from './host-client.js';
import { Maintenance } from './maintenance.js';
import { Statements } from './statements.js';

/** How long PGlite itself gets to close, after the work in flight was given its time. */
const CLOSE_GRACE = 5_000;

interface Maintained extends Database {
  readonly maintenance: Maintenance;
  readonly statements: Statements;
  /** What `storage.sql()` gives. */
  readonly host: PGlite;
}

/**
 * Statements run synchronously inside the process: a deadline or a signal ends the wait for the connection and a
 * transaction between its statements, never a statement that runs.
 */
export class PglitePool extends LocalPool<Maintained> implements PostgresDialectPool {
  readonly dialect = 'postgres';
  readonly binary = false;

  constructor(
    private readonly place: DatabasePlace,
    acquireTimeout: number,
    environment: PoolEnvironment,
  ) {
    super(acquireTimeout, environment);
  }

  readonly raw: RawClient = { language: 'sql', client: () => this.require('sql').database.host };

  get durable(): boolean {
    return this.place.directory !== undefined;
  }

  query(
    text: string,
    parameters: readonly SqlValue[],
    context: OperationContext,
    options?: QueryOptions,
  ): Promise<SqlResult> {
    const settings = options?.settings;
    return this.operate('query', context, async ({ client, statements, maintenance }) => {
      if (settings !== undefined) await client.exec(beginWith(settings).join('; '));
      const result = await statements.run(text, parameters, options?.name);
      if (settings !== undefined) await client.exec('COMMIT');
      if (result.affected > 0) maintenance.changed(result.affected);
      return result;
    });
  }

  script(text: string, context: OperationContext): Promise<void> {
    return this.operate('script', context, async ({ client, statements }) => {
      await client.exec(text);
      statements.forget();
    });
  }

  copyIn(
    target: string,
    rows: Iterable<string | Uint8Array>,
    context: OperationContext,
    format?: CopyFormat,
  ): Promise<void> {
    const copy = context.session === undefined ? copyAlone : copyInSession;
    return this.operate(
      'copyIn',
      context,
      async ({ client, maintenance }) => maintenance.changed(await copy(client, target, rows, format)),
      isUniqueViolation,
    );
  }

  backup(file: string, context: OperationContext): Promise<number> {
    const dump = (): Promise<Blob | File> =>
      this.operate('backup', context, async ({ client }) => {
        // What the engine has not written yet is a part of the copy.
        await client.exec('CHECKPOINT');
        return client.dumpDataDir('none');
      });
    const write = async (partial: string): Promise<void> =>
      writeFile(partial, Buffer.from(await (await dump()).arrayBuffer()), { flush: true });
    return writeBackup(file, this.name, write, (error) => mapError(error, this.name, 'backup'));
  }

  protected async openDatabase(context: OpenContext, slot: Slot): Promise<Maintained> {
    const database = await openDatabase(this.place, context, this.name);
    const { client } = database;
    const statements = new Statements(client, database.serialize);
    const { clock, name: component } = this;
    const host = hostClient(client, { slot, clock, component, onUsed: () => statements.forget() });
    return Object.assign(database, { maintenance: new Maintenance(client, slot), statements, host });
  }

  protected async destroy(database: Maintained): Promise<void> {
    const closed = closeDatabase(database).then(() => true);
    // A database that does not end keeps its lock until the process ends: nobody else may open its files.
    if (await this.within(this.clock.monotonic() + CLOSE_GRACE, closed)) await database.lock?.release();
  }

  protected unusable(database: Maintained): StorageError | undefined {
    return unusable(database);
  }

  protected ping({ client }: Maintained): Promise<unknown> {
    return client.query('SELECT 1');
  }

  protected async begin(opened: Opened<Maintained>): Promise<void> {
    await this.control(opened, 'BEGIN');
  }

  protected async commit(opened: Opened<Maintained>, session: LocalSession): Promise<void> {
    const command = await this.control(opened, 'COMMIT');
    // A statement that was not awaited may have failed since: PostgreSQL then answers COMMIT with ROLLBACK.
    if (command !== 'COMMIT')
      throw (
        session.failure ??
        new StorageError('INTERNAL', 'The database rolled the transaction back', { component: this.name })
      );
  }

  protected async mark(opened: Opened<Maintained>, script: string): Promise<void> {
    const reason = this.unusable(opened.database);
    if (reason !== undefined) throw reason;
    try {
      await opened.database.client.exec(script);
    } catch (error) {
      throw this.mapped(opened, error, 'transaction');
    }
  }

  protected rollBack(database: Maintained): Promise<void> {
    return rollBack(database);
  }

  /** @param undone whether what failed with an error has been undone, so that a session goes on. */
  private operate<R>(
    operation: string,
    context: OperationContext,
    run: (database: Maintained) => Promise<R>,
    undone?: (error: unknown) => boolean,
  ): Promise<R> {
    if (context.session === undefined) return answeredInTurn(this.outside(operation, context, run));
    return answeredInTurn(this.inSession(operation, context, run, undone));
  }

  private async outside<R>(
    operation: string,
    context: OperationContext,
    run: (database: Maintained) => Promise<R>,
  ): Promise<R> {
    const opened = this.require(operation);
    const { slot, database } = opened;
    const turn = slot.acquire(context);
    if (turn !== undefined) await turn;
    try {
      const result = await run(database);
      opened.lastSuccess = this.clock.monotonic();
      if (inTransaction(database)) throw controlStatementError(this.name, operation);
      return result;
    } catch (error) {
      const fault = this.mapped(opened, error, operation);
      // What others did next would be rolled back with a transaction that a statement left open.
      if (inTransaction(database)) await rollBack(database);
      throw fault;
    } finally {
      slot.release();
    }
  }

  private async inSession<R>(
    operation: string,
    context: OperationContext,
    run: (database: Maintained) => Promise<R>,
    undone: ((error: unknown) => boolean) | undefined,
  ): Promise<R> {
    const session = this.ownSession(context.session!, operation);
    return session.inTurn(context, async () => {
      const { opened } = this.ownSession(session, operation, context);
      try {
        const result = await run(opened.database);
        opened.lastSuccess = this.clock.monotonic();
        if (!inTransaction(opened.database)) throw session.refusal() ?? controlStatementError(this.name, operation);
        return result;
      } catch (error) {
        if (undone?.(error) === true) throw this.mapped(opened, error, operation);
        // An error leaves a transaction in it, unless the text had ended that before.
        const { database } = opened;
        const isEnded = !inTransaction(database) && !database.client.closed && session.over === undefined;
        if (isEnded && !stopsTheEngine(error))
          throw (session.failure ??= controlStatementError(this.name, operation, error));
        // The statements after a failed one fail too (25P02): what went wrong is the first error.
        throw (session.failure ??= faultIn(context, this.mapped(opened, error, operation)));
      }
    });
  }

  private async control(opened: Opened<Maintained>, statement: 'BEGIN' | 'COMMIT'): Promise<string | undefined> {
    try {
      const [result] = await opened.database.client.exec(statement);
      return result?.command;
    } catch (error) {
      const fault = this.mapped(opened, error, 'transaction');
      if (statement === 'BEGIN' || opened.database.stopped === undefined) throw fault;
      throw new StorageError('OUTCOME_UNKNOWN', 'The database engine stopped during the commit', {
        component: this.name,
        cause: error,
      });
    }
  }

  private mapped({ database, slot }: Opened<Maintained>, error: unknown, operation: string): StorageError {
    const fault = mapError(error, this.name, operation);
    if (stopsTheEngine(error)) {
      database.stopped ??= new UnavailableError('The database engine stopped; it has to be closed and opened again', {
        component: this.name,
        retryable: false,
        cause: error,
      });
      slot.close(database.stopped);
    }
    return fault;
  }
}
