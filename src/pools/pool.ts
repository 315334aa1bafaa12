/** The contract of a pool, and of what a registration says about it. */
import type { Component, OperationContext, Session, SettingsFragment, TestTarget } from '../component.js';
import type { Clock } from '../clock.js';

export type Isolation = 'serializable' | 'snapshot';

export interface TransactionOptions {
  /** Default: `serializable`. A pool that offers only a stronger level gives that. */
  readonly isolation?: Isolation;
  /** Bounds the wait for a connection, and every statement of the transaction. */
  readonly context: OperationContext;
}

export interface PoolFigures {
  readonly size: number;
  readonly idle: number;
  readonly waiting: number;
  readonly max: number;
}

/** The client library's own object, for `storage.sql()` and `storage.mongo()`. */
export interface RawClient {
  readonly language: 'sql' | 'mongo';
  /** @throws `CLOSED` while the pool is not open. */
  client(): unknown;
}

/** Owns the connections of one client library. Transactions are the pool's, so that records and vectors can share one. */
export interface Pool extends Component {
  readonly raw?: RawClient;
  /**
   * Milliseconds to add to this host's clock to have the server's; measured when opening and at each check. Absent where
   * the database runs in the process.
   */
  readonly clockOffset?: number;
  figures(): PoolFigures;
  /**
   * Runs `work` in one transaction: commits when it resolves, rolls back when it rejects or when the session has failed.
   * It runs `work` once; a conflict is thrown as a serialization failure, and running the function again is the caller's.
   */
  transaction<R>(options: TransactionOptions, work: (session: Session) => Promise<R>): Promise<R>;
  /**
   * Runs `work` as a part of a transaction that is undone by itself when it rejects; nothing else of the session may run
   * meanwhile. Then the session goes on, also after an error of the database, unless that ended the whole transaction (a
   * conflict, a lost connection): `session.failure` says so. Parts may be within parts.
   * @throws what `work` throws; `UNSUPPORTED`, before any I/O, where there are no savepoints.
   */
  savepoint<R>(session: Session, work: () => Promise<R>): Promise<R>;
}

/**
 * A parameter. Text is well-formed and has no NUL. On `sqlite`: null, a number, text or bytes, nothing else. On `postgres`
 * JSON is given as its text (`JSON.stringify(value)`), for `json`, `jsonb` and their arrays alike: it arrives as that JSON.
 * An array is a PostgreSQL array, for parameters of an array type; a `timestamptz` takes a Date, or `Infinity` and
 * `-Infinity`.
 */
export type SqlValue = null | boolean | number | string | Date | Uint8Array | readonly SqlValue[];

export interface SqlResult {
  /**
   * On `sqlite` what SQLite has: numbers, text, bytes, null. On `postgres` `bigint` comes as a number, `json` and `jsonb`
   * parsed, `timestamptz` as a Date or, when infinite, a number.
   */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Rows inserted, updated or deleted. */
  readonly affected: number;
}

export interface QueryOptions {
  /** Lets a server keep the plan. */
  readonly name?: string;
  /** The statement only reads, and gives at most one row. */
  readonly single?: boolean;
  /**
   * PostgreSQL's settings for this statement alone, as `SET LOCAL` takes them: they are written into the text, so names
   * and values are the library's own words and numbers. Not in a session, whose settings are its own.
   */
  readonly settings?: readonly Setting[];
  /**
   * In a session: nobody asks what the statement gives, so it may resolve, without rows, before it is sent. What it fails by
   * fails the session then: the next statement throws that, or the commit.
   */
  readonly untold?: boolean;
}

export interface ScriptOptions {
  /** The text is the host's, in a session: it may leave anything in it, so a connection of a server is not used again. */
  readonly foreign?: boolean;
}

export type Setting = readonly [name: string, value: string];

export type SqlDialectName = 'postgres' | 'sqlite';

/** A pool that speaks SQL: what the `sql` backend and `pgvector` ride on. */
export interface SqlPool extends Pool {
  readonly dialect: SqlDialectName;
  /** Whether the data outlive the process. */
  readonly durable: boolean;
  /** Whether several may write at the same time, so that a table must be changed without holding them up. */
  readonly concurrent?: boolean;
  /** Runs one statement, in the context's session when it has one. */
  query(
    text: string,
    parameters: readonly SqlValue[],
    context: OperationContext,
    options?: QueryOptions,
  ): Promise<SqlResult>;
  /**
   * Runs statements without parameters in one round trip: DDL, `SET LOCAL`.
   * @throws as `query`; `VALIDATION` where they have ended the session's transaction.
   */
  script(text: string, context: OperationContext, options?: ScriptOptions): Promise<void>;
}

/** Default: `text`. */
export type CopyFormat = 'text' | 'binary';

/** A pool that takes rows in bulk. */
export interface PostgresDialectPool extends SqlPool {
  readonly dialect: 'postgres';
  /** Whether bytes reach the server as the binary form of the parameter's type; else they are `bytea` only. */
  readonly binary: boolean;
  /**
   * Adds rows by COPY: all of them or none. In a session, as a part of it that is undone by itself when a unique constraint
   * refuses it (`ALREADY_EXISTS`); any other error fails the session.
   * @param target the table, with its columns in parentheses
   * @param rows in COPY's format, lines with their line feeds or the rows of its binary form, which has a beginning and an end
   */
  copyIn(target: string, rows: Iterable<string>, context: OperationContext): Promise<void>;
  copyIn(target: string, rows: Iterable<Uint8Array>, context: OperationContext, format: 'binary'): Promise<void>;
  /** Copies the database into a new file, as it is at one moment, and gives its bytes. Absent: a server is not copied so. */
  backup?(file: string, context: OperationContext): Promise<number>;
}

/** Runs one statement now. @throws what `SqlPool.query` rejects with. */
export type RunStatement = (text: string, parameters: readonly SqlValue[]) => SqlResult;

/** A pool whose statements are synchronous, so that several can be one step. */
export interface SqliteDialectPool extends SqlPool {
  readonly dialect: 'sqlite';
  /**
   * Runs `work` in one turn of the event loop and in one transaction; in a session, as a part of it that is undone by
   * itself. When `work` throws nothing of it is kept. `read` takes no lock against writers.
   */
  step<R>(access: 'read' | 'write', context: OperationContext, work: (run: RunStatement) => R): Promise<R>;
  /**
   * Copies the database into a new file, page by page beside the statements of others: it is the state when it begins.
   * Gives the file's bytes. Where it fails there is no file.
   */
  backup(file: string, context: OperationContext): Promise<number>;
}

export interface PoolEnvironment {
  readonly clock: Clock;
  /** The database's name in the settings; the pool's name as a component. */
  readonly name: string;
}

/**
 * What one file under `pools/` registers. `backend` and `vectors` name what keeps records and vectors over this pool.
 */
export interface PoolDriver<P extends Pool = Pool> {
  readonly name: string;
  /** URL schemes without the colon: `['postgresql', 'postgres']`. */
  readonly schemes: readonly string[];
  readonly backend: string;
  readonly vectors?: string;
  /** The options beside `url` in a database's settings. Absent: there are none. */
  readonly settings?: SettingsFragment;
  /** Checks the URL before anything opens. @returns what is wrong with it, without repeating it; else `undefined`. */
  checkUrl(url: string): string | undefined;
  /**
   * Equal keys share one pool. It may hold a password: it is never shown. `name` is the database's in the settings: a
   * database in memory is its own under each name.
   */
  key(url: string, options: Readonly<Record<string, unknown>>, name: string): string;
  create(url: string, options: Readonly<Record<string, unknown>>, environment: PoolEnvironment): P;
  readonly tests: readonly TestTarget[];
}
