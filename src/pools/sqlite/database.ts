/** An open SQLite database: one handle, its compiled statements, its settings. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { types } from 'node:util';
import { sleep } from '../../clock.js';
import type { OpenContext } from '../../component.js';
import { invalid, isStorageError, StorageError } from '../../errors.js';
import type { SqlResult, SqlValue } from '../pool.js';
import type { BoundValue, EngineDatabase, EngineName, OpenEngine } from './engine.js';
import { loadEngine } from './engines.js';
import { isBusy, mapError, sqliteCode } from './errors.js';
import { Statements } from './statements.js';

export interface SqliteOptions {
  readonly engine: EngineName | 'auto';
  readonly synchronous: 'off' | 'normal' | 'full' | 'extra';
}

/**
 * How long opening, and the host's handle, wait for a lock at a time, in milliseconds: SQLite does it with the event loop
 * stopped. The pool's own statements wait in its queue instead.
 */
const BUSY_TIMEOUT = 10;
const CONNECTION_SETTINGS = `PRAGMA busy_timeout = ${BUSY_TIMEOUT}; PRAGMA foreign_keys = ON`;
/** How long opening waits for another process that has the file locked. */
const OPEN_PATIENCE = 5_000;

/** Its statements throw `StorageError`s. */
export class Database {
  private readonly statements: Statements;
  private host: EngineDatabase | undefined;

  /** @param openAgain another handle on the same file; absent in memory, where there is no other. */
  constructor(
    readonly engine: EngineDatabase,
    private readonly component: string,
    private readonly openAgain?: () => EngineDatabase,
  ) {
    this.statements = new Statements(engine);
  }

  get inTransaction(): boolean {
    return this.engine.inTransaction;
  }

  /**
   * The host's handle. On a file one of its own: a statement of the host is part of no transaction of ours, a write of ours
   * is not undone by its rollback, and its close() is not ours.
   */
  hostClient(): unknown {
    const { openAgain } = this;
    if (openAgain === undefined) return this.engine.client;
    if (this.host === undefined || !isOpen(this.host)) this.host = this.mapped(openAgain, 'sql');
    return this.host.client;
  }

  /**
   * A handle of its own that reads the file as it is now, until it is closed: who writes meanwhile neither waits for it nor
   * makes a copy of it begin anew. `undefined` in memory.
   */
  moment(): EngineDatabase | undefined {
    const { openAgain } = this;
    if (openAgain === undefined) return undefined;
    return this.mapped(() => {
      const engine = openAgain();
      try {
        engine.exec('BEGIN; SELECT count(*) FROM sqlite_schema');
        return engine;
      } catch (error) {
        engine.close();
        throw error;
      }
    }, 'backup');
  }

  /** What `work` gives; what the engine throws in it is made a `StorageError`. */
  private mapped<R>(work: () => R, operation: string): R {
    try {
      return work();
    } catch (error) {
      throw mapError(error, this.component, operation);
    }
  }

  query(text: string, parameters: readonly SqlValue[], operation = 'query', single = false): SqlResult {
    checkParameters(parameters);
    try {
      const statement = this.statements.get(text);
      if (!statement.reader) return { rows: NO_ROWS, affected: statement.run(parameters) };
      if (single) {
        const row = statement.get(parameters);
        return { rows: row === undefined ? NO_ROWS : [row], affected: 0 };
      }
      const rows = statement.all(parameters);
      return { rows, affected: statement.returning ? rows.length : 0 };
    } catch (error) {
      throw mapError(error, this.component, operation);
    }
  }

  exec(text: string, operation = 'script'): void {
    try {
      this.engine.exec(text);
    } catch (error) {
      throw mapError(error, this.component, operation);
    }
  }

  /** Never throws. */
  rollBack(): void {
    try {
      if (this.engine.inTransaction) this.engine.exec('ROLLBACK');
    } catch {
      // The database was closed under the transaction, which undid it.
    }
  }

  /** Never throws. */
  close(): void {
    this.statements.clear();
    this.rollBack();
    for (const step of [
      () => this.host?.close(),
      () => this.engine.exec('PRAGMA wal_checkpoint(TRUNCATE)'),
      () => this.engine.close(),
    ])
      try {
        step();
      } catch {
        // A database that is damaged, or locked by others, keeps its log: the next opening reads it.
      }
  }
}

const NO_ROWS: SqlResult['rows'] = [];

function checkParameters(parameters: readonly SqlValue[]): asserts parameters is readonly BoundValue[] {
  for (const value of parameters)
    if (typeof value !== 'string' && typeof value !== 'number' && value !== null && !types.isUint8Array(value))
      throw invalid(`parameters[${parameters.indexOf(value)}]`, value, 'a number, a string, bytes or null');
}

/**
 * @param file absolute; `undefined`: a database in memory.
 * @throws `DEPENDENCY_MISSING`, `UNSUPPORTED` (the SQLite is too old), `CONFIGURATION` (no database of ours, not writable),
 * `UNAVAILABLE` (locked for long), `ABORTED`.
 */
export async function openDatabase(
  file: string | undefined,
  options: SqliteOptions,
  context: OpenContext,
  component: string,
): Promise<Database> {
  const open = await loadEngine(options.engine, component);
  const { clock, signal } = context;
  try {
    if (file !== undefined) await mkdir(dirname(file), { recursive: true });
    const started = clock.monotonic();
    for (;;)
      try {
        return prepare(makeDatabase(open, file, options, component), options, component);
      } catch (error) {
        if (!isBusy(error) || clock.monotonic() - started > OPEN_PATIENCE) throw error;
        await sleep(clock, BUSY_TIMEOUT, signal);
      }
  } catch (error) {
    throw openError(error, file, component);
  }
}

function makeDatabase(open: OpenEngine, file: string | undefined, options: SqliteOptions, component: string): Database {
  if (file === undefined) return new Database(open(':memory:'), component);
  return new Database(open(file), component, () => {
    const engine = open(file);
    try {
      engine.exec(CONNECTION_SETTINGS);
      engine.exec(synchronousSetting(options));
      return engine;
    } catch (error) {
      engine.close();
      throw error;
    }
  });
}

function isOpen(engine: EngineDatabase): boolean {
  try {
    engine.prepare('SELECT 1');
    return true;
  } catch {
    return false;
  }
}

function synchronousSetting({ synchronous }: SqliteOptions): string {
  return `PRAGMA synchronous = ${synchronous.toUpperCase()}`;
}

function prepare(database: Database, options: SqliteOptions, component: string): Database {
  const ask = (pragma: string): unknown => Object.values(database.query(`PRAGMA ${pragma}`, []).rows[0] ?? {})[0];
  try {
    database.exec(CONNECTION_SETTINGS);
    const encoding = ask('encoding');
    if (encoding !== 'UTF-8')
      throw new StorageError('CONFIGURATION', `The database's text is in ${String(encoding)}; it must be UTF-8`, {
        component,
        operation: 'open',
      });
    ask('journal_mode = WAL');
    database.exec(synchronousSetting(options));
    tryWriting(database);
    database.exec('PRAGMA busy_timeout = 0');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** What cannot be written says so at the opening, and not at the first write. */
function tryWriting(database: Database): void {
  try {
    database.exec('BEGIN IMMEDIATE; ROLLBACK');
  } catch (error) {
    // Another process writes, so that it can be done.
    if (!isBusy(error)) throw error;
  }
}

function openError(error: unknown, file: string | undefined, component: string): StorageError {
  const reason = sqliteCode(error) ?? (error as NodeJS.ErrnoException).code;
  if (isStorageError(error) && sqliteCode(error) === undefined) return error;
  const options = { component, operation: 'open', cause: error, details: { file, reason } };
  const place = file ?? 'in memory';
  switch (reason) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'SQLITE_FULL':
      return new StorageError('STORAGE_FULL', `No room is left for the database ${place}`, options);
    case 'SQLITE_NOTADB':
      return new StorageError('CONFIGURATION', `${place} is not a SQLite database`, options);
    case 'SQLITE_READONLY':
      return new StorageError('CONFIGURATION', `The database ${place} cannot be written`, options);
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
    case 'SQLITE_CORRUPT':
      return mapError(error, component, 'open');
    default:
      return new StorageError(
        'CONFIGURATION',
        `The database ${place} cannot be used (${reason ?? 'unknown'})`,
        options,
      );
  }
}
