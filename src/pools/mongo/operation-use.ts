/** What an operation gets of an open pool. */
import type { ClientSession, Collection, Db, Document, Filter } from 'mongodb';
import { StorageError } from '../../errors.js';
import type { Deployment } from './connect.js';
import { duplicateIndex, isLostAnswer, isPassing, isStoppedHalfWay } from './errors.js';
import type { Library } from './library.js';
import type { Limit } from './limit.js';
import type { Opened } from './opened.js';
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
  readonly transactions: Deployment['transactions'];
  readonly inTransaction: boolean;
  readonly double: Library['double'];
  readonly duplicateIndex: typeof duplicateIndex;
  readonly isLostAnswer: typeof isLostAnswer;
  collection<D extends Document>(name: string): Collection<D>;
  /** For one call to the client. @throws when nobody waits for the operation any more, and when the transaction is over */
  callBounds(): CallBounds;
  /**
   * Makes one statement that is atomic for each of its records alone; none is tried again by the client.
   * @throws `OUTCOME_UNKNOWN` outside of transactions when the server stopped it: no server undoes the half that is made
   */
  nonAtomic<R>(statement: () => Promise<R>): Promise<R>;
  /** The document of this id. */
  findById<D extends Document>(name: string, id: string, projection: Document | undefined): Promise<D | null>;
}

/** What errors say of the operation. */
interface Told {
  readonly component: string;
  readonly operation: string;
}

/** Of writes outside of transactions. */
interface Writes {
  /** Absent where the client tries none again. */
  readonly session: WriteSession | undefined;
  readonly told: Told;
}

/** A class, because an object made of accessors for each operation costs more than what it is for. */
export class OperationUse implements MongoUse {
  readonly duplicateIndex = duplicateIndex;
  readonly isLostAnswer = isLostAnswer;

  constructor(
    private readonly opened: Opened,
    private readonly limit: Limit,
    private readonly session: MongoSession | undefined,
    private readonly writes?: Writes,
  ) {}

  get db(): Db {
    return this.opened.db;
  }

  /**
   * @throws when the operation was cut, for nobody waits for it any more, and when the transaction is over: the client would
   * send what is asked of it then outside of any.
   */
  callBounds(): CallBounds {
    const { session, limit, writes } = this;
    const over = limit.reason ?? session?.over;
    if (over !== undefined) throw over;
    const { maxTimeMS, signal } = limit;
    if (writes?.session !== undefined) return { maxTimeMS, signal, session: writes.session.forCall() };
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
    const { opened, limit } = this;
    // Where there are no transactions the client tries no write again: its error is that of the only try.
    const session = this.transactions === 'none' ? undefined : new WriteSession(opened.client);
    try {
      return await work(new OperationUse(opened, limit, undefined, { session, told }));
    } catch (cause) {
      if (!(session?.mayBeMade(cause) ?? isLostAnswer(cause))) throw cause;
      const message = 'The answer to the write was lost: it may have been made';
      throw new StorageError('OUTCOME_UNKNOWN', message, { ...told, cause });
    } finally {
      session?.end(limit.reason !== undefined);
    }
  }

  async nonAtomic<R>(statement: () => Promise<R>): Promise<R> {
    try {
      return await statement();
    } catch (cause) {
      if (this.writes === undefined || !isStoppedHalfWay(cause)) throw cause;
      const message = 'The server stopped the write of many records: some of them may have been written';
      throw new StorageError('OUTCOME_UNKNOWN', message, { ...this.writes.told, cause });
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
    const { opened, inTransaction } = this;
    const { maxTimeMS, ...options } = this.callBounds();
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
        ...this.callBounds(),
        ...(projection && { projection }),
      });
    }
  }
}
