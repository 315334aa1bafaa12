/**
 * The wait for another process that migrates. Where a database has one writer, a step that runs keeps everyone else out of
 * it, also out of asking who migrates.
 */
import type { CollectionHost } from '../collection/host.js';
import { sleep } from '../clock.js';
import { isStorageError, TimeoutError } from '../errors.js';
import type { SqlPool } from '../pools/pool.js';

export class Patience {
  private readonly until: number;

  /** @param wait in milliseconds, from now on. */
  constructor(
    private readonly host: CollectionHost,
    private readonly wait: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.until = host.clock.monotonic() + wait;
  }

  /**
   * Runs `work`, and again while it is kept out. @throws what `work` throws, `ABORTED`, `TIMEOUT`.
   * @param isTaking whether it waits, on any database, for a row that the holder's step has written: of one that is frozen
   * for longer than an operation may take.
   */
  async run<R>(work: () => Promise<R>, isTaking = false): Promise<R> {
    for (;;)
      try {
        return await work();
      } catch (error) {
        if (!(isTaking && isStorageError(error, 'TIMEOUT')) && !this.isKeptOut(error)) throw error;
        await this.pause(error);
      }
  }

  /** @throws `TIMEOUT` when it is at its end, `ABORTED`. */
  async pause(cause?: unknown): Promise<void> {
    const { clock, backend } = this.host;
    const remaining = this.until - clock.monotonic();
    if (remaining <= 0)
      throw new TimeoutError(`Another process has been migrating for longer than ${this.wait} ms`, {
        component: backend.name,
        operation: 'migrate',
        cause,
      });
    await sleep(clock, Math.min(remaining, 50 + Math.random() * 200), this.signal);
  }

  private isKeptOut(error: unknown): boolean {
    if (!hasOneWriter(this.host)) return false;
    return isStorageError(error, 'TIMEOUT') || (isStorageError(error, 'UNAVAILABLE') && 'waited' in error.details);
  }
}

/** SQLite and PGlite. */
export function hasOneWriter({ backend }: CollectionHost): boolean {
  return 'dialect' in backend.pool && (backend.pool as SqlPool).concurrent !== true;
}
