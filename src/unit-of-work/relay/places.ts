/**
 * The places of a relay: so many of its keys have a handler at the same time. A key leaves its place once nothing of it is left
 * to be handled. Where places are left soon, keys are claimed ahead of them: handlers run while the database notes what was
 * delivered of the former keys, and claims the next ones.
 */
import type { Clock } from '../../clock.js';

/** Milliseconds: only behind places that are left within these is a key claimed ahead, as another relay may have one free. */
const SOON = 50;

/** Milliseconds that a key waits for a place at most. */
const PATIENCE = 100;

export class Places {
  private taken = 0;
  private readonly waiting: ((isFree: boolean) => void)[] = [];
  /** Places that were left soon, in a row: as many as there are, and keys are claimed ahead. */
  private leftSoon = 0;
  private isClosed = false;

  constructor(
    private readonly most: number,
    private readonly clock: Clock,
    private readonly onLeave: () => void,
  ) {}

  /** How many keys may be claimed. @param held those that the relay has: the ones that are being noted are bounded, too */
  free(held: number): number {
    const most = this.leftSoon >= this.most ? 2 * this.most : this.most;
    return Math.max(0, Math.min(most - this.taken - this.waiting.length, most + this.most - held));
  }

  /** No key waits any more. */
  close(): void {
    this.isClosed = true;
    this.waiting.splice(0).forEach((settle) => settle(false));
  }

  /** @returns when it was taken, by the monotonic clock; `undefined` where none was free in time. */
  async take(): Promise<number | undefined> {
    if (this.taken < this.most) this.taken++;
    else if (!(await this.wait())) return undefined;
    return this.clock.monotonic();
  }

  giveBack(since: number): void {
    this.leftSoon = this.clock.monotonic() - since <= SOON ? this.leftSoon + 1 : 0;
    const next = this.waiting.shift();
    if (next === undefined) this.taken--;
    else next(true);
    this.onLeave();
  }

  private wait(): Promise<boolean> {
    if (this.isClosed) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (isFree: boolean): void => {
        timer.cancel();
        resolve(isFree);
      };
      const giveUp = (): void => {
        // What takes the places now takes them for long.
        this.leftSoon = 0;
        this.waiting.splice(this.waiting.indexOf(settle), 1);
        settle(false);
      };
      this.waiting.push(settle);
      const timer = this.clock.after(PATIENCE, giveUp, { background: true });
    });
  }
}

/** What one key has of them: a place, or none. */
export class Place {
  private since: number | undefined;

  constructor(private readonly places: Places) {}

  /** @returns whether it has one now. */
  async enter(): Promise<boolean> {
    this.since = await this.places.take();
    return this.since !== undefined;
  }

  leave(): void {
    if (this.since !== undefined) this.places.giveBack(this.since);
    this.since = undefined;
  }
}
