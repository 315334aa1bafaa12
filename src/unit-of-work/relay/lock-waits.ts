/**
 * How long a relay waits for the locks of transactions: one that leaves a message holds the record of its key until it ends, and
 * nobody can delete the key and its lane meanwhile.
 */
import type { Clock } from '../../clock.js';
import { backoffDelay, type Backoff } from './options.js';

/**
 * Milliseconds. A wait takes a connection from the other keys, and one that is cut off costs the
 * connection. So a few at a time last as long as usual transactions do, and the others only as long as ten answers of the server.
 */
const LONG = 1_000;
const SHORT = 100;
const SHORT_ANSWERS = 10;

/** Of the relay's places, one in so many may have a long wait; of fewer places, one for as much of their time. */
const SHARE = 4;

/** The milliseconds for which a key that is held for longer is left alone. */
const REST: Backoff = { base: 200, max: 2_000 };

/** @param rests in a row, with the one that begins */
export function restOf(rests: number): number {
  return backoffDelay(REST, rests);
}

export class LockWaits {
  /** Long waits at a time. */
  private readonly most: number;
  private long = 0;
  /** After a long wait there is none for so many times as long. */
  private readonly pauseRatio: number;
  /** Until then, by the monotonic clock. */
  private pausedUntil = -Infinity;

  /** @param concurrency the places of the relay */
  constructor(
    concurrency: number,
    private readonly clock: Clock,
    private readonly isStopping: () => boolean,
  ) {
    this.most = Math.max(1, Math.floor(concurrency / SHARE));
    this.pauseRatio = Math.max(0, SHARE / concurrency - 1);
  }

  /**
   * Runs `work` with the milliseconds for which it may wait for a lock.
   * @param answerTime milliseconds that the server took for an answer
   * @param wasHeld whether the lock was held when it was last waited for: it is waited for again only where the wait may be long
   * @returns what `work` gives; `undefined`, at once, where it was not run
   */
  async run<R>(answerTime: number, wasHeld: boolean, work: (timeout: number) => Promise<R>): Promise<R | undefined> {
    // A relay that stops has no other keys.
    if (this.isStopping()) return work(LONG);
    const begun = this.clock.monotonic();
    if (this.long === this.most || begun < this.pausedUntil)
      return wasHeld ? undefined : work(Math.min(LONG, Math.max(SHORT, SHORT_ANSWERS * answerTime)));
    this.long++;
    try {
      return await work(LONG);
    } finally {
      this.long--;
      const ended = this.clock.monotonic();
      this.pausedUntil = ended + this.pauseRatio * (ended - begun);
    }
  }
}
