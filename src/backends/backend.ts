/**
 * The record contract. A record is a JSON object under a tenant, a collection and an id; a backend keeps records; a batch
 * may cross collections of one backend. Backends never see user input: values are validated, filters are parsed trees,
 * cursors are ranges, dates in values are ISO text. `docs/backends.md` tells what each promise means.
 */
import type { Component, OperationContext, TestTarget } from '../component.js';
import type { Range, SortKey } from '../filter/cursor.js';
import type { FieldReference, FieldType, FilterNode, Scalar } from '../filter/syntax.js';
import type { Pool } from '../pools/pool.js';
import type { BackendOperations } from './operations.js';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** A record as every backend keeps it. `version` starts at 1 and grows by 1 with each write. */
export interface Stored<T = JsonObject> {
  readonly tenant: string;
  readonly id: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Absent: never. At this instant the record is gone for every operation, swept or not. */
  readonly expiresAt?: Date;
  readonly value: T;
}

export interface FieldSchema {
  readonly type: FieldType;
  /** Bytes of UTF-8 a string may have. */
  readonly maxBytes: number;
}

export interface IndexSchema {
  readonly name: string;
  readonly keys: readonly { readonly field: string; readonly direction: 'asc' | 'desc' }[];
  /** `tenant` leads with the tenant; `all` does not, and serves maintenance over every tenant. */
  readonly scope: 'tenant' | 'all';
}

export interface UniqueSchema {
  readonly name: string;
  readonly fields: readonly string[];
}

/** A collection's definition, validated and resolved. Its identity may key caches of compiled statements. */
export interface RecordSchema {
  readonly name: string;
  readonly fields: ReadonlyMap<string, FieldSchema>;
  readonly indexes: readonly IndexSchema[];
  /** Within the tenant; a record that lacks one of the fields is outside the constraint. */
  readonly unique: readonly UniqueSchema[];
  readonly text: readonly string[];
  /** Whether ids are stored as those of a sequence (`sequence-id.ts`); absent: as they are. */
  readonly numbered?: true;
  /**
   * Deletes up to `limit` records that are over though they have no expiry, because something else is to change with them;
   * gives the number. Absent: none.
   */
  readonly sweep?: (backend: RecordBackend, before: Date, limit: number, context: OperationContext) => Promise<number>;
}

export interface TenantScope {
  readonly tenant: string;
}
/** Every tenant at once: sweeps, retention, claims of due work. No tenant's handle can get it. */
export type Scope = TenantScope | 'all';

export interface RecordKey {
  readonly collection: RecordSchema;
  readonly id: string;
}

/** One atomic step on one record. Paths are dotted; no path is a prefix of another. */
export interface PatchChanges {
  /** Parents that are missing are created; a parent that is no object makes the patch `invalid`. */
  readonly set?: Readonly<Record<string, JsonValue>>;
  readonly unset?: readonly string[];
  /** A missing number counts as 0. */
  readonly increment?: Readonly<Record<string, number>>;
  /** Appends one element; a missing array counts as empty. */
  readonly push?: Readonly<Record<string, JsonValue>>;
}

interface NewRecord {
  readonly value: JsonObject;
  /** Import only; default: now. `put` over a live record keeps that record's. */
  readonly createdAt?: Date;
  readonly expiresAt?: Date;
}

/** That nobody else wrote to the record since it was read. */
export interface SameRecord {
  readonly ifVersion?: number;
  /** Beside `ifVersion`: the record's own, since versions begin anew for one that is made under the id of another. */
  readonly ifCreatedAt?: Date;
}

export type Write = RecordKey &
  (
    | ({
        readonly kind: 'insert';
        /** The id was made for it, so that no record has it. Absent: one may. */
        readonly isNew?: true;
      } & NewRecord)
    | ({ readonly kind: 'put' } & NewRecord)
    | ({
        readonly kind: 'replace';
        readonly value: JsonObject;
        /** Absent: never expires. */
        readonly expiresAt?: Date;
      } & SameRecord)
    | {
        readonly kind: 'patch';
        /** Touches no text path and no part of one: the collection replaces the whole value there. */
        readonly changes: PatchChanges;
        readonly if?: FilterNode;
        readonly ifVersion?: number;
        /** Inserted as it is when there is no live record. Not together with `ifVersion`. */
        readonly orInsert?: JsonObject;
        /** A Date sets it, null removes it, absent keeps it (and with `orInsert` means never). */
        readonly expiresAt?: Date | null;
      }
    | ({
        readonly kind: 'delete';
        /** Its record is not asked for: the result may lack it. Default: it is. */
        readonly returns?: false;
      } & SameRecord)
  );

export type WriteResult =
  /** `insert`, `put`, `replace` */
  | { readonly status: 'written'; readonly version: number; readonly createdAt: Date }
  | { readonly status: 'patched'; readonly record: Stored }
  /** Without its record where the write did not ask for it. */
  | { readonly status: 'deleted'; readonly record?: Stored }
  /** `insert` met a live record. */
  | { readonly status: 'exists'; readonly version: number }
  /** The version differs, or the time it was created at. */
  | { readonly status: 'conflict'; readonly version: number }
  /** The patch's `if` does not match. */
  | { readonly status: 'unmatched'; readonly version: number }
  /** The patch does not fit the value it met. */
  | { readonly status: 'invalid'; readonly path: string; readonly reason: PatchFault }
  | { readonly status: 'missing' }
  /** Another item of the batch failed. */
  | { readonly status: 'skipped' };

export type PatchFault = 'not-an-object' | 'not-a-number' | 'not-an-array' | 'overflow' | 'too-large';

export interface FindRequest {
  readonly collection: RecordSchema;
  readonly filter: FilterNode;
  /** Ends with the id. Under the scope `all`, ties of the id are in the tenant's order. */
  readonly sort: readonly SortKey[];
  /** Disjoint and in the order of `sort`; absent: from the beginning. */
  readonly ranges?: readonly Range[];
  readonly limit: number;
}

export interface CountRequest extends Pick<FindRequest, 'collection' | 'filter'> {
  /** Where more than this match, this is told, and no more are looked at. Absent: all are counted. */
  readonly limit?: number;
}

export interface UpdateRequest extends Pick<FindRequest, 'collection' | 'filter'> {
  /** Touches no text path and no part of one. */
  readonly changes: PatchChanges;
  /** A Date sets it, null removes it, absent keeps it. */
  readonly expiresAt?: Date | null;
}

export interface ClaimRequest extends UpdateRequest {
  readonly sort: readonly SortKey[];
  readonly limit: number;
}

export interface AggregateRequest extends Pick<FindRequest, 'collection' | 'filter'> {
  /** Declared fields, or the envelope's `tenant`; records are counted together whose values are the same. Missing and null are one value. */
  readonly by: readonly FieldReference[];
  /** Declared fields of type number. */
  readonly numbers: readonly FieldReference[];
  /** No more groups than this. */
  readonly limit: number;
}

/** The records of one group. */
export interface AggregateGroup {
  /** The values of `by`; null for missing. */
  readonly key: readonly Scalar[];
  readonly count: number;
  /** Of `numbers`, in their order; a record that lacks the number is not counted. */
  readonly numbers: readonly NumberSummary[];
}

export interface NumberSummary {
  readonly count: number;
  readonly sum: number;
  /** Absent when `count` is 0. */
  readonly min?: number;
  readonly max?: number;
}

export interface RecordCapabilities {
  /** `none`: each write is atomic by itself, and `transaction` throws `UNSUPPORTED`. */
  readonly transactions: 'serializable' | 'snapshot' | 'none';
  /** Whether a part of a transaction can be undone by itself: a transaction within a transaction. */
  readonly savepoints: boolean;
  /** `ordered`: a batch stops at its first failure and keeps what it wrote before. */
  readonly batch: 'atomic' | 'ordered';
  readonly unique: boolean;
  readonly text: boolean;
  /** Whether the data outlive the process. */
  readonly durable: boolean;
  readonly maxRecordBytes: number;
  readonly maxBatchItems: number;
  readonly maxBatchBytes: number;
}

export interface RecordBackend extends Component {
  readonly capabilities: RecordCapabilities;
  /** Whose sessions it takes. */
  readonly pool: Pool;
  /** What an operator can do to the database. Absent: nothing. */
  readonly operations?: BackendOperations;
  /**
   * Makes the collections' tables and indexes, and applies what changed in their declarations; idempotent, safe against
   * the same call elsewhere.
   * @param patience the deadline of what takes as long as there are records; absent: the context's.
   * @throws `MIGRATION` when existing records do not fit: `details` has their `count` and the first of them, `records`.
   */
  ensure(collections: readonly RecordSchema[], context: OperationContext, patience?: number): Promise<void>;
  /** Whether the collections' tables are all there, as declared or not; makes nothing. Absent: `ensure` leaves no trace. */
  exists?(collections: readonly RecordSchema[], context: OperationContext): Promise<boolean>;
  /**
   * The names of indexes that the collection had and no longer declares. Unless `dryRun` they are dropped, and every record
   * is checked against the declaration, as by `ensure`, whatever is noted of it; earlier declarations are forgotten.
   * Absent where there is nothing to drop or to check. @throws `MIGRATION` as `ensure`; then nothing is dropped.
   */
  settle?(collection: RecordSchema, dryRun: boolean, context: OperationContext): Promise<string[]>;
  /** In the order of the keys; `undefined` for what is not there. All that a backend gives is the caller's own copy. */
  read(scope: TenantScope, keys: readonly RecordKey[], context: OperationContext): Promise<(Stored | undefined)[]>;
  /**
   * Atomic: when one item's condition fails nothing is written, that item has its result and the others are `skipped`
   * (or their own failure). Keys are distinct within a batch. Where its items meet at a unique constraint they take effect
   * one after another in the order of `write-order.ts`: a key that one kind frees a later kind may take; within one kind a
   * key that goes from record to record may be refused; a batch that fails by a condition too may tell either. What it is given belongs to the caller again once it has answered.
   * In a session a batch of nothing but new records outside every unique constraint may be answered before the database has it:
   * what it fails by then fails the session, and with it the transaction.
   * @throws `ALREADY_EXISTS` with `details.constraint` for a unique constraint; in a session that fails the session.
   */
  write(scope: TenantScope, writes: readonly Write[], context: OperationContext): Promise<WriteResult[]>;
  find(scope: Scope, request: FindRequest, context: OperationContext): Promise<Stored[]>;
  count(scope: Scope, request: CountRequest, context: OperationContext): Promise<number>;
  /** Deletes up to `limit` records that expired at `before` or earlier; gives the number. */
  sweep(collection: RecordSchema, before: Date, limit: number, context: OperationContext): Promise<number>;
  /**
   * Faster than the derived form; deletes up to `limit` matching records and gives the number. It is less than `limit` only
   * when it met no more that match: what other writers deleted or changed meanwhile does not count.
   */
  deleteMany?(
    scope: Scope,
    request: Pick<FindRequest, 'collection' | 'filter' | 'limit'>,
    context: OperationContext,
  ): Promise<number>;
  /** As `deleteMany`: patches every matching record that the changes fit, each in one atomic step; gives the number. */
  updateMany?(scope: Scope, request: UpdateRequest, context: OperationContext): Promise<number>;
  /**
   * As `deleteMany`: patches up to `limit` matching records that no other claim has, the first by `sort`, and gives them
   * as they are then, in any order. Those that the changes do not fit are left alone.
   */
  claim?(scope: Scope, request: ClaimRequest, context: OperationContext): Promise<Stored[]>;
  /** As `deleteMany`: counts and sums in the database. */
  aggregate?(scope: Scope, request: AggregateRequest, context: OperationContext): Promise<AggregateGroup[]>;
  /**
   * As `deleteMany`: inserts records of one collection whose ids are new, all of them or none, up to the batch's bytes and
   * any number. @throws `ALREADY_EXISTS` for an id or a constraint; a session where it can do so goes on.
   */
  readonly bulkLoad?:
    | ((
        scope: TenantScope,
        writes: readonly (Write & { readonly kind: 'insert' })[],
        context: OperationContext,
      ) => Promise<void>)
    | undefined;
}

/** What one file under `backends/` registers. */
export interface BackendDriver {
  readonly name: string;
  create(pool: Pool, name: string): RecordBackend;
  /** For a backend that needs no server beyond its pool's own targets, absent. */
  readonly tests?: readonly TestTarget[];
}
