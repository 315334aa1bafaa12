/**
 * What an operator does to a database: its sizes, its upkeep, who works on it now. A host writes
 *
 *     const { collections } = await storage.operations('main').stats();
 *     await storage.operations().vacuum({ collection: 'orders' });
 *
 * One interface and one meaning a name over all databases. A backend implements those that its database has, each a
 * function of the checked options and a context; what it leaves out is refused with `UNSUPPORTED`, before any I/O, and is
 * `false` in `capabilities`. Names of collections are checked here and looked up by the backend, so that no statement is
 * built from one that is not there. Numbers are numbers, sizes bytes, times Dates, ages milliseconds. Questions take the
 * usual time of an operation; what may run for hours (`LONG`) is given a week unless `timeout` or `signal` end it.
 */
import type { CallOptions, OperationContext } from '../component.js';

export interface CollectionStats {
  readonly collection: string;
  /** Those that have expired, and are not swept yet, are counted too. */
  readonly records: number;
  /** Whether `records` was counted; else it is estimated from what the server gathered at the last vacuum or analyze. */
  readonly exact: boolean;
  /** Of the records, without the indexes. */
  readonly bytes: number;
  readonly indexBytes: number;
}

export interface DatabaseStats {
  /** In the order of their names, the library's own (`qm_...`) among them. */
  readonly collections: readonly CollectionStats[];
}

/** A table of the database, or a collection of MongoDB, whoever made it. */
export interface TableInfo {
  /** Where the database has schemas. */
  readonly schema?: string;
  readonly name: string;
  /** Whose records it holds. */
  readonly collection?: string;
  /** As the server estimates it; on SQLite and MongoDB counted. */
  readonly records: number;
  /** Rows that were changed or deleted, and still take room; where the server tells. */
  readonly deadRecords?: number;
  readonly bytes: number;
  readonly indexBytes: number;
  readonly vacuumedAt?: Date;
  readonly analyzedAt?: Date;
}

export interface ExtensionInfo {
  readonly name: string;
  /** Absent: it is not installed. */
  readonly version?: string;
  /** What `ensureExtensions` would install. */
  readonly availableVersion: string;
}

export interface ConnectionInfo {
  /** The server's number for it: the process id on PostgreSQL. */
  readonly id: string;
  readonly user?: string;
  readonly application?: string;
  readonly address?: string;
  /** As the server calls it: `active`, `idle`, `idle in transaction`. */
  readonly state: string;
  /** Milliseconds in this state. */
  readonly stateAge: number;
  readonly connectedAt: Date;
  /** Absent outside of a transaction. */
  readonly transactionStartedAt?: Date;
}

export interface RunningOperation {
  /** Of the connection on PostgreSQL, of the operation on MongoDB. */
  readonly id: string;
  readonly user?: string;
  readonly application?: string;
  readonly address?: string;
  /** The state of its connection; one that blocks others may be `idle in transaction`. */
  readonly state: string;
  /**
   * The query's text as the server shows it to this user, its parameters as `$1`; of one that is idle, its last. On
   * MongoDB the command and what it works on, without its values.
   */
  readonly text: string;
  readonly startedAt: Date;
  /** Milliseconds since then. */
  readonly age: number;
  /** What it waits for, as the server calls it: `Lock: transactionid`. */
  readonly waitsFor?: string;
}

export interface BlockedOperation extends RunningOperation {
  /** Those that hold what it waits for, or stand before it in the queue. */
  readonly blockedBy: readonly RunningOperation[];
}

export interface IndexInfo {
  readonly schema?: string;
  readonly name: string;
  readonly table: string;
  /** Whose records it serves. */
  readonly collection?: string;
  readonly unique: boolean;
  /** False for what a failed `CREATE INDEX CONCURRENTLY` left: it costs writes and serves no reads. */
  readonly valid: boolean;
  readonly bytes: number;
  /** How often it was used since the server began to count; where it counts. */
  readonly uses?: number;
  readonly definition: string;
}

export interface IntegrityReport {
  readonly ok: boolean;
  /** What is wrong, in the database's own words. */
  readonly faults: readonly string[];
}

export interface ForeignKeyViolation {
  readonly table: string;
  /** Absent where the table has none. */
  readonly rowid?: number;
  /** The table that lacks what the row refers to. */
  readonly references: string;
}

export interface PageCount {
  readonly pages: number;
  /** Of those, the ones that hold nothing; `vacuum` gives them back. */
  readonly freePages: number;
  readonly pageBytes: number;
}

interface OfCollection extends CallOptions {
  /** The name of a collection, or what `defineCollection` gave. Default: all. */
  readonly collection?: string | { readonly name: string } | undefined;
}

export interface StatsOptions extends CallOptions {
  /** Counts the records where the server would estimate them: a scan of each table. Default: false. */
  readonly exact?: boolean | undefined;
}

export interface VacuumOptions extends OfCollection {
  /** Writes the tables anew, under a lock against readers, and gives the room back to the disk: on SQLite always. Default: false. */
  readonly full?: boolean | undefined;
  /** Also as `analyze`. Default: false. */
  readonly analyze?: boolean | undefined;
}

export interface CurrentOperationsOptions extends CallOptions {
  /** Only those that have run for so many milliseconds. Default: 0. */
  readonly longerThan?: number | undefined;
}

export interface IntegrityOptions extends OfCollection {
  /** How many faults are told at most. Default: 100. */
  readonly limit?: number | undefined;
}

export interface ReindexOptions extends OfCollection {
  /** One index, as `indexes` or `invalidIndexes` gave it; not together with `collection`. */
  readonly index?: Pick<IndexInfo, 'schema' | 'name'> | undefined;
}

/**
 * The operations of one database. All throw `UNSUPPORTED` where `capabilities` says false, `NOT_FOUND` for a collection
 * that has no table, `UNAUTHORIZED` where the server asks for a right that the user has not.
 */
export interface Operations {
  readonly database: string;
  readonly capabilities: Readonly<Record<OperationName, boolean>>;
  /** What each collection takes. */
  stats(options?: StatsOptions): Promise<DatabaseStats>;
  /** Bytes of the whole database, indexes included. */
  databaseSize(options?: CallOptions): Promise<number>;
  tables(options?: CallOptions): Promise<readonly TableInfo[]>;
  /** All that the server can install. */
  extensions(options?: CallOptions): Promise<readonly ExtensionInfo[]>;
  /** Installs what is missing of these. @throws `UNSUPPORTED` for one that the server does not have, installing none. */
  ensureExtensions(options: CallOptions & { readonly names: readonly string[] }): Promise<void>;
  /** Every connection to this database, whoever holds it. */
  connections(options?: CallOptions): Promise<readonly ConnectionInfo[]>;
  /** What runs now on this database, the oldest first, without the question itself. */
  currentOperations(options?: CurrentOperationsOptions): Promise<readonly RunningOperation[]>;
  /** What waits for a lock, and for whom. */
  blocking(options?: CallOptions): Promise<readonly BlockedOperation[]>;
  /** Lets the room of changed and deleted rows be used again. On SQLite of the whole file only. */
  vacuum(options?: VacuumOptions): Promise<void>;
  /** Gathers what the planner needs to know of the data. */
  analyze(options?: OfCollection): Promise<void>;
  /** Writes the log into the database's files. `complete` is false where readers or writers kept part of it. */
  checkpoint(options?: CallOptions): Promise<{ readonly complete: boolean }>;
  /** Reads everything, and compares the indexes with the records. On MongoDB `validate` with `full`. */
  integrityCheck(options?: IntegrityOptions): Promise<IntegrityReport>;
  /** As `integrityCheck`, without the slow part of it. */
  quickCheck(options?: IntegrityOptions): Promise<IntegrityReport>;
  foreignKeyCheck(options?: CallOptions): Promise<readonly ForeignKeyViolation[]>;
  indexes(options?: OfCollection): Promise<readonly IndexInfo[]>;
  /** Those that no query has used since the server began to count, and that hold no constraint. */
  unusedIndexes(options?: OfCollection): Promise<readonly IndexInfo[]>;
  invalidIndexes(options?: OfCollection): Promise<readonly IndexInfo[]>;
  /** Builds indexes anew; on PostgreSQL beside reads and writes (`CONCURRENTLY`). One of `collection` and `index`. */
  reindex(options: ReindexOptions): Promise<void>;
  /** What SQLite finds worth doing for its planner. */
  optimize(options?: CallOptions): Promise<void>;
  /** A copy of the database as one file, while others read and write. @throws `ALREADY_EXISTS` when `file` is there. */
  backup(options: CallOptions & { readonly file: string }): Promise<{ readonly bytes: number }>;
  pageCount(options?: CallOptions): Promise<PageCount>;
}

export type OperationName = Exclude<keyof Operations, 'database' | 'capabilities'>;

/** The options without the caller's bounds, the collection by its name. */
export type CheckedOptions<N extends OperationName> = Omit<
  NonNullable<Parameters<Operations[N]>[0]>,
  keyof CallOptions | 'collection'
> & { readonly collection?: string };

/** What a backend implements of them. */
export type BackendOperations = {
  readonly [N in OperationName]?: (options: CheckedOptions<N>, context: OperationContext) => ReturnType<Operations[N]>;
};

/** The options of each besides the caller's bounds, and whether it is given its time. */
export const OPERATIONS: Readonly<Record<OperationName, { readonly keys: readonly string[]; readonly long: boolean }>> =
  {
    stats: { keys: ['exact'], long: false },
    databaseSize: { keys: [], long: false },
    tables: { keys: [], long: false },
    extensions: { keys: [], long: false },
    ensureExtensions: { keys: ['names'], long: false },
    connections: { keys: [], long: false },
    currentOperations: { keys: ['longerThan'], long: false },
    blocking: { keys: [], long: false },
    vacuum: { keys: ['collection', 'full', 'analyze'], long: true },
    analyze: { keys: ['collection'], long: true },
    checkpoint: { keys: [], long: true },
    integrityCheck: { keys: ['collection', 'limit'], long: true },
    quickCheck: { keys: ['collection', 'limit'], long: true },
    foreignKeyCheck: { keys: [], long: true },
    indexes: { keys: ['collection'], long: false },
    unusedIndexes: { keys: ['collection'], long: false },
    invalidIndexes: { keys: ['collection'], long: false },
    reindex: { keys: ['collection', 'index'], long: true },
    optimize: { keys: [], long: true },
    backup: { keys: ['file'], long: true },
    pageCount: { keys: [], long: false },
  };

export const OPERATION_NAMES = Object.keys(OPERATIONS) as OperationName[];
