/** A transaction: one session of the client. */
import type { ClientSession } from 'mongodb';
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { LocalSession } from '../local-session.js';
import type { Pool } from '../pool.js';

export class MongoSession extends LocalSession {
  // Private in earnest: what inspects or serialises a session must not meet the client, which holds the password.
  readonly #client: ClientSession;
  #calls = new Set<Promise<unknown>>();

  constructor(pool: Pool, client: ClientSession, bounds: OperationContext, clock: Clock) {
    super(pool, bounds, clock);
    this.#client = client;
  }

  get client(): ClientSession {
    return this.#client;
  }

  /** What the client does for it, also when nobody waits for it any more. */
  track(call: Promise<unknown>): void {
    this.#calls.add(call);
    const forget = (): void => void this.#calls.delete(call);
    call.then(forget, forget);
  }

  /** Resolves when the client does nothing for it any more. To be asked once it has ended. */
  async quiet(): Promise<void> {
    await Promise.allSettled(this.#calls);
  }
}
