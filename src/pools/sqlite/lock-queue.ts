/** The wait for a lock of the file that another connection has: one attempt at a time, first come, first served. */
import { type Clock, sleep } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { TimeoutError } from '../../errors.js';
import { Slot } from '../slot.js';
import { isBusy } from './errors.js';

/** The milliseconds between two attempts: they double, and differ at random. Nothing tells when a file's lock is free. */
const FIRST_WAIT = 1;
const LONGEST_WAIT = 4;

const LATE = 'Another connection had the database locked until the deadline';

export class LockQueue {
  private readonly first: Slot;

  constructor(
    private readonly clock: Clock,
    private readonly component: string,
  ) {
    this.first = new Slot({ clock, component, acquireTimeout: Infinity, late: LATE });
  }

  /** Whether somebody waits, so that who comes now has to stand behind. */
  get busy(): boolean {
    return this.first.busySince !== undefined;
  }

  /**
   * @param refusal what an attempt that was made already threw.
   * @throws what `attempt` throws that is no lock; `TIMEOUT`, `ABORTED`.
   */
  async run<R>(context: OperationContext, attempt: () => Promise<R>, refusal?: unknown): Promise<R> {
    const turn = this.first.acquire(context);
    if (turn !== undefined) await turn;
    try {
      // Who stood behind another comes when that one has had the lock, which may be free now.
      return await this.retry(context, attempt, turn === undefined ? refusal : undefined);
    } finally {
      this.first.release();
    }
  }

  /** As `run`, before all that wait: for who has the connection, which they need. */
  async retry<R>(context: OperationContext, attempt: () => Promise<R>, refusal?: unknown): Promise<R> {
    let error = refusal;
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      if (error !== undefined) await this.pause(wait * (0.5 + Math.random()), context, error);
      try {
        return await attempt();
      } catch (fault) {
        if (!isBusy(fault)) throw fault;
        error = fault;
      }
    }
  }

  private async pause(wait: number, { deadline, signal }: OperationContext, cause: unknown): Promise<void> {
    await sleep(this.clock, Math.max(0, Math.min(wait, deadline - this.clock.monotonic())), signal);
    if (deadline <= this.clock.monotonic()) throw new TimeoutError(LATE, { component: this.component, cause });
  }
}
