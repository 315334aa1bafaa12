/** Connections that were idle for long, or whose way to the server may be gone, are tried before their next use. */
import { within, type Clock } from '../../clock.js';
import { TimeoutError } from '../../errors.js';
import type { Connection } from './connection.js';
import type { Bounds } from './wait-queue.js';

/** One that was idle for longer is tried. */
const TRUSTED_FOR = 30_000;
/** How long a trial may take. */
const TRIAL = 2_000;
const LATE = 'The deadline passed while the connection was tried';

export interface Tried {
  readonly clock: Clock;
  readonly component: string;
  readonly idle: readonly Connection[];
  release(connection: Connection): void;
  /** Ends one that is as bad as one that did not answer. */
  giveUp(connection: Connection): void;
}

export class Trials {
  private trustedSince = -Infinity;

  constructor(private readonly pool: Tried) {}

  /** After a sign that the way to the server or the server has changed: no connection that is idle now is trusted. */
  distrust(): void {
    this.trustedSince = this.pool.clock.monotonic();
  }

  isTrusted({ idleSince }: Connection, now: number): boolean {
    return now - idleSince < TRUSTED_FOR && idleSince > this.trustedSince;
  }

  /**
   * Whether the server answers on it. The trial has the pool's time, not its caller's, who may have little: one that is
   * left behind goes on, and its connection comes back.
   * @throws `ABORTED`, `TIMEOUT` by the caller's bounds.
   */
  pass(connection: Connection, bounds: Bounds): Promise<boolean> {
    const trial = this.run(connection);
    return within(trial, bounds, this.pool.clock, LATE).catch((error: unknown) => {
      void trial.then((passed) => passed && this.pool.release(connection));
      throw error;
    });
  }

  private async run(connection: Connection): Promise<boolean> {
    const { pool } = this;
    const { idleSince } = connection;
    const passed = await connection.answers(pool.clock.monotonic() + TRIAL);
    // An error is an answer of a server or a pooler that cannot serve it now; nobody has the connection any more.
    if (!passed) pool.giveUp(connection);
    // The server was silent for the whole of it: those that were idle as long are no better, and each would cost a trial.
    if (connection.endedBy instanceof TimeoutError)
      for (const other of [...pool.idle]) if (other.idleSince <= idleSince) pool.giveUp(other);
    return passed;
  }
}
