/** One timer for the deadlines of all statements that run: a statement costs a comparison, unless it ends before the others. */
import { type Clock, type Timer, timerDelay } from '../../clock.js';

export interface Bounded {
  /** Of `Clock.monotonic`; `Infinity` while nothing runs. */
  readonly deadline: number;
  /** Called once the deadline has passed. */
  expire(): void;
}

export class Deadlines {
  private wakeAt = Infinity;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly all: Iterable<Bounded>,
  ) {}

  /** To be told of each deadline, when its work begins. */
  add(deadline: number): void {
    if (deadline < this.wakeAt) this.wake(deadline);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.wakeAt = Infinity;
  }

  private wake(at: number): void {
    this.timer?.cancel();
    this.wakeAt = at;
    // The socket of the statement keeps the process alive.
    this.timer = this.clock.after(timerDelay(at - this.clock.monotonic()), () => this.sweep(), { background: true });
  }

  private sweep(): void {
    this.stop();
    const now = this.clock.monotonic();
    let next = Infinity;
    // Those that expire leave the set while it is read.
    for (const bounded of [...this.all]) {
      if (bounded.deadline <= now) bounded.expire();
      // It may have others left, which come later.
      const { deadline } = bounded;
      if (deadline < next) next = deadline;
    }
    if (next < Infinity) this.add(next);
  }
}
