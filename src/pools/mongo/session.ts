/** A transaction: one session of the client. */
import type { ClientSession, MongoClient } from 'mongodb';
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { LocalSession } from '../local-session.js';
import type { Pool } from '../pool.js';

export class MongoSession extends LocalSession {
  // Private in earnest: what inspects or serialises a session must not meet the client, which holds the password.
  readonly #client: ClientSession;
  readonly #mongo: MongoClient;
  #calls = new Set<Promise<unknown>>();
  #begun = false;

  constructor(pool: Pool, mongo: MongoClient, bounds: OperationContext, clock: Clock) {
    super(pool, bounds, clock);
    this.#mongo = mongo;
    this.#client = mongo.startSession();
  }

  get client(): ClientSession {
    return this.#client;
  }

  /** Whether anything was asked of the client in it. */
  get begun(): boolean {
    return this.#begun;
  }

  /** What the client does for it, also when nobody waits for it any more. */
  track(call: Promise<unknown>): void {
    this.#begun = true;
    this.#calls.add(call);
    const forget = (): void => void this.#calls.delete(call);
    call.then(forget, forget);
  }

  /** Undoes it in the server where the client itself does not: after it was asked for a commit. */
  abort(): void {
    this.track(this.#mongo.db('admin').command({ abortTransaction: 1 }, { session: this.#client }));
  }

  /** Resolves when the client does nothing for it any more. To be asked once it has ended. */
  async quiet(): Promise<void> {
    await Promise.allSettled(this.#calls);
  }
}
