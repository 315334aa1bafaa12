/** An open pool: its client, who uses it, and what an operation gets of it. */
import type { ClientSession, Collection, Db, Document, Filter, MongoClient } from 'mongodb';
import { StorageError } from '../../errors.js';
import type { Deployment } from './connect.js';
import type { Connections } from './connections.js';
import { duplicateIndex, isLostAnswer, isPassing, isStoppedHalfWay } from './errors.js';
import type { Gate } from './gate.js';
import type { Library } from './library.js';
import type { Limit } from './limit.js';
import type { Probe } from './probe.js';
import type { MongoSession } from './session.js';
import { WriteSession } from './write-session.js';

export type {
  AnyBulkWriteOperation,
  CreateIndexesOptions,
  Document,
  Double,
  IndexDescription,
  UpdateFilter,
} from 'mongodb';

interface FindReply<D> {
  readonly cursor: { readonly firstBatch: readonly D[] };
}

/** What bounds a call to the client; to be given to each of them. When the operation is cut, its connection is closed. */
export interface CallBounds {
  readonly maxTimeMS: number;
  readonly signal: AbortSignal;
  readonly session?: ClientSession;
}

/** The database for the length of one operation. */
export interface MongoUse {
  readonly db: Db;
  readonly bounds: CallBounds;
  readonly transactions: Deployment['transactions'];
  readonly inTransaction: boolean;
  readonly double: Library['double'];
  readonly duplicateIndex: typeof duplicateIndex;
  readonly isLostAnswer: typeof isLostAnswer;
  collection<D extends Document>(name: string): Collection<D>;
  /**
   * Makes one statement for many records; none is tried again by the client.
   * @throws `OUTCOME_UNKNOWN` outside of transactions when the server stopped it: no server undoes the half that is made
   */
  many<R>(statement: () => Promise<R>): Promise<R>;
  /** The document of this id. */
  findById<D extends Document>(name: string, id: string, projection: Document | undefined): Promise<D | null>;
}

/** What a pool has while it is open. */
export interface Opened {
  readonly library: Library;
  readonly client: MongoClient;
  readonly db: Db;
  /** The level of its reads outside of transactions. */
  readonly readLevel: 'majority' | 'local';
  readonly deployment: Deployment;
  readonly gate: Gate;
  readonly connections: Connections;
  readonly probe: Probe;
  readonly collections: Map<string, Collection>;
  readonly limits: Set<Limit>;
  /** Of operations that have ended, for the next ones. */
  readonly spareSignals: AbortController[];
  readonly sessions: Set<MongoSession>;
  /** Set while a close waits for the work in flight. */
  onIdle: (() => void) | undefined;
}

export function isIdle({ gate, sessions }: Opened): boolean {
  return gate.taken === 0 && sessions.size === 0;
}

/** To be called where something of it has ended. */
export function tellIdle(opened: Opened): void {
  if (opened.onIdle !== undefined && isIdle(opened)) opened.onIdle();
}

export function leaveTurn(opened: Opened): void {
  opened.gate.release();
  tellIdle(opened);
}

/** What errors say of the operation. */
interface Told {
  readonly component: string;
  readonly operation: string;
}

/** A class, because an object made of accessors for each operation costs more than what it is for. */
export class OperationUse implements MongoUse {
  readonly duplicateIndex = duplicateIndex;
  readonly isLostAnswer = isLostAnswer;
  private writes: WriteSession | undefined;
  /** Of writes outside of transactions. */
  private told: Told | undefined;

  constructor(
    private readonly opened: Opened,
    private readonly limit: Limit,
    private readonly session: MongoSession | undefined,
  ) {}

  get db(): Db {
    return this.opened.db;
  }

  /**
   * @throws when the operation was cut, for nobody waits for it any more, and when the transaction is over: the client would
   * send what is asked of it then outside of any.
   */
  get bounds(): CallBounds {
    const { session, limit, writes } = this;
    const over = limit.reason ?? session?.over;
    if (over !== undefined) throw over;
    const { maxTimeMS, signal } = limit;
    if (writes !== undefined) return { maxTimeMS, signal, session: writes.forCall() };
    return session === undefined ? { maxTimeMS, signal } : { maxTimeMS, signal, session: session.client };
  }

  get transactions(): Deployment['transactions'] {
    return this.opened.deployment.transactions;
  }

  get inTransaction(): boolean {
    return this.session !== undefined;
  }

  get double(): Library['double'] {
    return this.opened.library.double;
  }

  /** Runs writes outside of transactions. @throws `OUTCOME_UNKNOWN` for one that was sent and whose answer was lost */
  async writing<R>(work: (use: MongoUse) => Promise<R>, told: Told): Promise<R> {
    this.told = told;
    // Where there are no transactions the client tries no write again: its error is that of the only try.
    if (this.transactions !== 'none') this.writes = new WriteSession(this.opened.client);
    const { writes } = this;
    try {
      return await work(this);
    } catch (cause) {
      if (!(writes?.mayBeMade(cause) ?? isLostAnswer(cause))) throw cause;
      const message = 'The answer to the write was lost: it may have been made';
      throw new StorageError('OUTCOME_UNKNOWN', message, { ...told, cause });
    } finally {
      writes?.end(this.limit.reason !== undefined);
    }
  }

  async many<R>(statement: () => Promise<R>): Promise<R> {
    try {
      return await statement();
    } catch (cause) {
      if (this.told === undefined || !isStoppedHalfWay(cause)) throw cause;
      const message = 'The server stopped the write of many records: some of them may have been written';
      throw new StorageError('OUTCOME_UNKNOWN', message, { ...this.told, cause });
    }
  }

  collection<D extends Document>(name: string): Collection<D> {
    const { collections, db } = this.opened;
    let collection = collections.get(name);
    if (collection === undefined) collections.set(name, (collection = db.collection(name)));
    return collection as unknown as Collection<D>;
  }

  /** By one command: the cursor that the client makes for a `findOne` costs a sixth of its time. */
  async findById<D extends Document>(name: string, id: string, projection: Document | undefined): Promise<D | null> {
    const { bounds, opened, inTransaction } = this;
    const { maxTimeMS, ...options } = bounds;
    const query = { filter: { _id: id }, ...(projection && { projection }) };
    const command: Document = { find: name, ...query, limit: 1, singleBatch: true, maxTimeMS };
    // In a transaction its level is the transaction's.
    if (!inTransaction) command['readConcern'] = { level: opened.readLevel };
    try {
      const { cursor } = (await opened.db.command(command, options)) as FindReply<D>;
      return cursor.firstBatch[0] ?? null;
    } catch (error) {
      // A command is not tried again by the client, which knows when to.
      if (inTransaction || !isPassing(error)) throw error;
      return this.collection<D>(name).findOne<D>({ _id: id } as Filter<D>, {
        ...bounds,
        ...(projection && { projection }),
      });
    }
  }
}
