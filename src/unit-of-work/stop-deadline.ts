/** The end of a loop that is to stop: when it gives up what still runs, and when it no longer waits for the database either. */
import type { Clock, Timer } from '../clock.js';

/** Milliseconds for which a loop that gives up waits for the database, to give back what it holds. */
const LAST_WAIT = 1_000;
/** In so many parts: a process that stands still for a while hears of no answers, and most of the wait is still to come. */
const PARTS = 10;

export class StopDeadline {
  /** When it gives up, by the monotonic clock. */
  private at = Infinity;
  /** Of the step that comes next. */
  private timer: Timer | undefined;

  /** @param abandon called where it has not ended within a second after `giveUp` */
  constructor(
    private readonly clock: Clock,
    private readonly giveUp: () => void,
    private readonly abandon: () => void,
  ) {}

  /** Gives up after `milliseconds`; asked again, the shorter time counts. */
  in(milliseconds: number): void {
    const at = this.clock.monotonic() + milliseconds;
    if (at >= this.at) return;
    this.at = at;
    this.timer?.cancel();
    if (milliseconds === 0) this.pass();
    else this.timer = this.clock.after(milliseconds, () => this.pass());
  }

  /** The loop has ended: nothing is given up any more. */
  end(): void {
    this.at = -Infinity;
    this.timer?.cancel();
  }

  private pass(): void {
    this.at = -Infinity;
    this.giveUp();
    this.wait(PARTS);
  }

  private wait(parts: number): void {
    const next = parts === 1 ? this.abandon : () => this.wait(parts - 1);
    this.timer = this.clock.after(LAST_WAIT / PARTS, next);
  }
}
