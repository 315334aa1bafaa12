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
  readonly #unused: number;

  constructor(pool: Pool, mongo: MongoClient, bounds: OperationContext, clock: Clock) {
    super(pool, bounds, clock);
    this.#mongo = mongo;
    this.#client = mongo.startSession();
    this.#unused = this.markUnused();
  }

  get client(): ClientSession {
    return this.#client;
  }

  /** Whether anything was asked of the client in it. */
  get begun(): boolean {
    return this.#begun;
  }

  /**
   * Whether the client has told by now, as `markUnused` has it, that it sent what was asked of it. One that does so in
   * another way must not be taken for one that has sent nothing.
   */
  get tellsUse(): boolean {
    return !Object.is(this.#client.serverSession.lastUse, this.#unused);
  }

  /**
   * Sets the time of the last use back: the client sets it anew when it puts a command of the session on a connection.
   * @returns the time that stays while nothing is sent
   */
  markUnused(): number {
    return --this.#client.serverSession.lastUse;
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
