/**
 * In what the databases of this backend differ. Which statements there are, what a filter's tree means and why a write is
 * refused is written once beside this file; the SQL of one field, and how many statements are one atomic step, is said by a
 * value of this type.
 */
import type { OperationContext } from '../../component.js';
import type { FieldReference, FieldType, LeafNode, Scalar } from '../../filter/syntax.js';
import type { Range } from '../../filter/cursor.js';
import type { QueryOptions, SqlDialectName, SqlPool, SqlResult, SqlValue } from '../../pools/pool.js';
import type {
  FieldSchema,
  ClaimRequest,
  FindRequest,
  JsonObject,
  RecordKey,
  RecordSchema,
  Scope,
  Stored,
  UpdateRequest,
  Write,
  WriteResult,
} from '../backend.js';
import type { BackendOperations } from '../operations.js';

/** What every function that runs statements is given. */
export interface Database {
  readonly pool: SqlPool;
  readonly dialect: Dialect;
}

export type Row = SqlResult['rows'][number];
export type Operand = Exclude<Scalar, null>;
export type TypedField = FieldReference & { readonly type: FieldType };

/** The parameters of one statement, in the order they are bound. Each call adds one and gives its place in the text. */
export interface Parameters {
  readonly values: SqlValue[];
  /** What a field of this source and type is compared with. */
  operand(value: Operand, source: FieldReference['source'], type: FieldType): string;
  text(value: string): string;
  time(value: Date): string;
  integer(value: number): string;
}

export interface Statement {
  readonly text: string;
  readonly parameters: Parameters;
}

/**
 * The text that reads a request's rows `t`. Parameters are bound as these are called, which is in the order of the text.
 * @param from what comes before the conditions of `t`
 */
export type SelectRows = (from: () => string, limit: (bound: () => string) => string) => string;

export interface KeyStatement {
  readonly text: string;
  /** Its name stands for this text only. */
  readonly options: QueryOptions;
}

/** The statements of one key. Their parameters come in one order on every database. */
export interface KeyStatements {
  /** Parameters: tenant, id, now. */
  readonly get: KeyStatement;
  /** Parameters: tenant, id, created, now, expires, value, and words where text is declared. */
  readonly insert: KeyStatement;
  readonly put: KeyStatement;
  /** Parameters: tenant, id, now, expires, value, words where text is declared, and the version where one is asked. */
  readonly replace: KeyStatement;
  readonly replaceVersion: KeyStatement;
  /** Parameters: tenant, id, now, and the version where one is asked. */
  readonly delete: KeyStatement;
  readonly deleteVersion: KeyStatement;
  /** The values of a replace as its text has them, where it does not have them in that order. */
  arrange?(values: readonly SqlValue[]): SqlValue[];
}

/** How tables and indexes are made and found. */
export interface Definitions {
  /** The table's name as the catalogue has it. */
  catalogueName(collection: string): string;
  tableDdl(collection: string): string;
  readonly wordsIndex: string | undefined;
  readonly wordsColumn: string;
  /** The table of the notes: a `name` as the catalogue has it, and its `note`. */
  readonly notes: string;
  /**
   * Of the names that are there: `name`, `words` (whether it has that column), `valid` (whether an index can be used), `note`.
   */
  catalogue(pool: SqlPool, names: readonly string[], context: OperationContext): Promise<readonly Row[]>;
  /** Rows `name`: the indexes of a table. */
  indexNames(table: string): { readonly text: string; readonly values: readonly SqlValue[] };
  dropIndex(name: string): string;
  /** Taken by everybody who makes tables, until the transaction ends. */
  lock(pool: SqlPool, context: OperationContext): Promise<void>;
  /** What must be there before the first table. */
  prepare(pool: SqlPool, context: OperationContext): Promise<void>;
  /** True of a row `t` whose value does not fit the field. */
  misfit(path: readonly string[], field: FieldSchema): string;
  /** True of a row `t` whose id is stored as that of a sequence. */
  readonly numberedId: string;
  /** Leaves alone what was written since it was read. */
  saveWords(pool: SqlPool, table: string, rows: readonly WordsRow[], context: OperationContext): Promise<void>;
  /** Where others write while a table is changed; absent where a database has one writer. */
  readonly shared?: SharedDefinitions;
}

/** How a table is changed without holding up those who write. */
export interface SharedDefinitions {
  /** One script: makes the tables that are not there by then, each as a whole. `name` as the catalogue has it. */
  createOnce(tables: readonly { readonly name: string; readonly statements: readonly string[] }[]): string;
  /** Adds a column, or gives up soon with `isHeldUp`: those who write wait behind it. */
  addColumn(table: string, column: string): string;
  isHeldUp(error: unknown): boolean;
  /** Whether an index was refused because the host has partitioned the table: such a one is not built beside writers. */
  isPartitioned(error: unknown): boolean;
  /** Marks a table as being changed until the transaction ends. */
  hold(table: string): string;
  /** Whether somebody, alive or not, still has the server at work on a change of the table. */
  isHeld(pool: SqlPool, table: string, context: OperationContext): Promise<boolean>;
  /** As the other one, without holding anyone up. */
  dropIndex(name: string): string;
}

export interface WordsRow {
  readonly tenant: string;
  readonly id: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly words: readonly string[];
}

export interface Dialect {
  readonly name: SqlDialectName;

  parameters(): Parameters;
  time(value: Date): SqlValue;
  /** `undefined` and null: never. */
  expiry(value: Date | null | undefined): SqlValue;
  words(paths: readonly string[], value: JsonObject): SqlValue;
  readValue(column: unknown): JsonObject;
  /** Whether a row's `expires_at` means never. */
  isNever(column: unknown): boolean;

  tableName(collection: string): string;
  /** The typed expression at a path, NULL for every other type. `prefix` is the table's alias with its dot, empty in an index. */
  typedAt(path: readonly string[], type: FieldType, prefix: string): string;
  /** A column of the envelope. "Never expires" is a missing value in filters and sorts. */
  envelopeColumn(name: string, prefix: string): string;
  /** What a nullable term of an order ends with, so that missing comes first ascending and last descending. */
  readonly nulls: { readonly asc: string; readonly desc: string };
  /** Of a row that expires at some time. */
  expires(prefix: string): string;
  notNull(expression: string, key: TypedField): string;
  /** NULL when the path is missing in `t.value`, and equal to `jsonNull` for null. */
  presence(path: readonly string[]): string;
  readonly jsonNull: string;

  oneOf(expression: string, values: readonly Operand[], field: TypedField, parameters: Parameters): string;
  /** `eq` and `in` on a path without a declared type; no value of `eq` is null. */
  untypedEqual(path: readonly string[], value: Operand, parameters: Parameters): string;
  untypedIn(path: readonly string[], values: readonly Scalar[], parameters: Parameters): string;
  contains(path: readonly string[], value: Scalar, parameters: Parameters): string;
  /** `value` has its ASCII letters folded. */
  icontains(text: string, value: string, parameters: Parameters): string;
  hasWords(words: (LeafNode & { op: 'text' })['words'], parameters: Parameters): string;

  readonly count: string;
  /** A number in `t.value` to be summed up, NULL for every other type: no sum of them is an error. */
  summand(path: readonly string[]): string;
  /** Deletes rows that fulfil `where`, those that `tail` (an order, a limit) picks. */
  deleteText(table: string, where: string, tail: string): string;
  /** Whether keys that a range pins to one value stand in its order too. */
  readonly pinnedKeys: boolean;
  /**
   * The text of a find where it is better to look first how many rows there are; `undefined` where it is not, and absent where
   * statistics tell the planner.
   */
  fewOrMany?(scope: Scope, request: FindRequest, parameters: Parameters, select: SelectRows): string | undefined;

  statements(schema: RecordSchema): KeyStatements;
  readonly definitions: Definitions;
  operations(pool: SqlPool): BackendOperations;

  readMany(
    database: Database,
    tenant: string,
    keys: readonly RecordKey[],
    context: OperationContext,
  ): Promise<(Stored | undefined)[]>;
  /** The rows of several ranges, in their order. */
  findRanges(
    database: Database,
    scope: Scope,
    request: FindRequest,
    ranges: readonly Range[],
    context: OperationContext,
  ): Promise<readonly Row[]>;
  /** At least one write. */
  write(
    database: Database,
    tenant: string,
    writes: readonly Write[],
    context: OperationContext,
  ): Promise<WriteResult[]>;
  /** Where the database has a faster way in than `write`. */
  load?(
    database: Database,
    tenant: string,
    writes: readonly (Write & { readonly kind: 'insert' })[],
    context: OperationContext,
  ): Promise<void>;
  updateMany(database: Database, scope: Scope, request: UpdateRequest, context: OperationContext): Promise<number>;
  claim(database: Database, scope: Scope, request: ClaimRequest, context: OperationContext): Promise<Stored[]>;
}
