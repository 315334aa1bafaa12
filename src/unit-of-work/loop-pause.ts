/** The pauses of a loop that works off what is due: they end early when there may be something to do. */
import type { Clock } from '../clock.js';

/**
 * Milliseconds for which places that are free wait for others, so that one claim takes for all of them: each takes some
 * round trips, whatever it takes.
 */
const GATHER = 10;

export class LoopPause {
  private isWoken = false;
  private end: (() => void) | undefined;

  constructor(private readonly clock: Clock) {}

  /** Ends the pause, or the next one. */
  wake(): void {
    this.isWoken = true;
    this.end?.();
  }

  /** The loop looks now: what has woken it until now is seen to. */
  look(): void {
    this.isWoken = false;
  }

  /** It keeps the process alive: somebody asked for the loop. */
  pause(milliseconds: number): Promise<void> {
    if (this.isWoken) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.end = undefined;
        resolve();
      };
      const timer = this.clock.after(milliseconds, done);
      this.end = done;
    });
  }

  /** Waits for `isEnough`, a moment at most. */
  async gather(isEnough: () => boolean): Promise<void> {
    const end = this.clock.monotonic() + GATHER;
    for (let left = GATHER; left > 0 && !isEnough(); left = end - this.clock.monotonic()) {
      this.look();
      await this.pause(left);
    }
    this.look();
  }
}
