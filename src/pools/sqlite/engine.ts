/** What the pool needs of a SQLite library, close to better-sqlite3's own interface. */
export type Row = Readonly<Record<string, unknown>>;
export type BoundValue = null | number | string | Uint8Array;

export interface EngineStatement {
  /** Whether it gives rows. */
  readonly reader: boolean;
  /**
   * Its first row. Not for statements that write: one that is not run to its end makes no checkpoint; nor for `SELECT *`,
   * whose columns may change.
   */
  get(parameters: readonly BoundValue[]): Row | undefined;
  all(parameters: readonly BoundValue[]): Row[];
  /** @returns the number of changed rows. */
  run(parameters: readonly BoundValue[]): number;
}

export interface EngineDatabase {
  /** The library's own object. */
  readonly client: unknown;
  readonly inTransaction: boolean;
  prepare(text: string): EngineStatement;
  /** Runs any number of statements without parameters. */
  exec(text: string): void;
  /** Copies it into a file, some pages at a time; `between` is called after each time but the last, and ends it by throwing. */
  backup(path: string, between: () => void): Promise<void>;
  close(): void;
}

/** Opens a file, or `:memory:`. */
export type OpenEngine = (path: string) => EngineDatabase;

export const ENGINES = ['better-sqlite3', 'node:sqlite', '@photostructure/sqlite'] as const;
export type EngineName = (typeof ENGINES)[number];
