/**
 * The session of a write outside of transactions. The client tries a write again that got no answer, and where it finds no
 * server for that it tells of the search only; its count of what it sent tells the rest, and costs nothing.
 */
import type { ClientSession, MongoClient } from 'mongodb';
import { isStorageError } from '../../errors.js';
import { isLostAnswer, isNetworkFault, isSystemFault, mapError } from './errors.js';

export class WriteSession {
  // Private in earnest, as in the session of a transaction: it holds the client.
  readonly #client: ClientSession;
  private sent: number;

  /** What the client else makes by itself for every call. */
  constructor(client: MongoClient) {
    this.#client = client.startSession({ causalConsistency: false });
    this.sent = this.#client.serverSession.txnNumber;
  }

  /** For the next call to the client: `mayBeMade` is asked about the last. */
  forCall(): ClientSession {
    this.sent = this.#client.serverSession.txnNumber;
    return this.#client;
  }

  /** Whether the server may have made a write that ended with `error`. */
  mayBeMade(error: unknown): boolean {
    if (isLostAnswer(error)) return true;
    if (isStorageError(error)) return false;
    // A write gets its number when it is put on a connection; only the first try gets one.
    const { txnNumber, isDirty } = this.#client.serverSession;
    if (isNetworkFault(error) || isSystemFault(error)) return txnNumber > this.sent;
    // An answer to the second try: from a server that knows the write it would have been no refusal to serve.
    return isDirty && mapError(error, '').retryable;
  }

  /** @param isCut whether the server may still be at the last call: the next write of its session would wait for that */
  end(isCut: boolean): void {
    if (isCut) this.#client.serverSession.isDirty = true;
    void this.#client.endSession().catch(() => undefined);
  }
}
