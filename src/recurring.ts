/** Work in the background that is done again and again, until it is stopped. */
import { timerDelay, type Clock, type Timer } from './clock.js';

export interface RecurringOptions {
  readonly clock: Clock;
  /** Milliseconds from the end of one time to the next, give or take a tenth; 0: never. */
  readonly interval: number;
  readonly work: (signal: AbortSignal) => Promise<void>;
}

export class Recurring {
  private timer: Timer | undefined;
  private running: Promise<void> | undefined;
  private end = new AbortController();
  private fault: unknown;

  constructor(private readonly options: RecurringOptions) {}

  /** What the last time failed with; `undefined` when it did not, or was stopped. */
  get failure(): unknown {
    return this.fault;
  }

  start(): void {
    this.end = new AbortController();
    this.schedule();
  }

  /** Aborts the work, and waits for its end until `deadline` (of `Clock.monotonic`). */
  async stop(deadline: number): Promise<void> {
    const { clock } = this.options;
    this.timer?.cancel();
    this.timer = undefined;
    this.end.abort();
    if (this.running === undefined) return;
    let patience: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      patience = clock.after(Math.max(0, deadline - clock.monotonic()), resolve);
    });
    await Promise.race([this.running, late]).finally(() => patience?.cancel());
  }

  private schedule(): void {
    const { clock, interval, work } = this.options;
    const { signal } = this.end;
    if (interval === 0 || signal.aborted) return;
    // Give or take a tenth, so that many processes do not begin at one moment.
    const wait = timerDelay(interval * (0.9 + Math.random() * 0.2));
    this.timer = clock.after(
      wait,
      () => {
        this.running = work(signal)
          .then(
            () => (this.fault = undefined),
            (error: unknown) => (this.fault = signal.aborted ? undefined : error),
          )
          .then(() => {
            this.running = undefined;
            this.schedule();
          });
      },
      { background: true },
    );
  }
}
