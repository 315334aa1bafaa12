/** Deletes in the background what has expired. It is hidden since the moment it expired; this gives its room back. */
import type { RecordBackend, RecordSchema } from './backends/backend.js';
import type { Clock, Timer } from './clock.js';
import type { CheckResult, Component, OperationContext } from './component.js';
import { foreignErrorName, isStorageError } from './errors.js';

/** How long an expired record stays, in milliseconds: a host whose clock is behind may still see it as living. */
const GRACE = 60_000;
const BATCH = 1_000;
/** Milliseconds that one batch may take. */
const BATCH_TIMEOUT = 30_000;

type Sweep = (before: Date, limit: number, context: OperationContext) => Promise<number>;

export interface SweeperOptions {
  readonly name: string;
  readonly backend: RecordBackend;
  /** Those whose tables are known to be there. */
  readonly collections: () => readonly RecordSchema[];
  readonly clock: Clock;
  /** Milliseconds from the end of one sweep to the next, give or take a tenth; 0: never. */
  readonly interval: number;
}

export class Sweeper implements Component {
  private timer: Timer | undefined;
  private running: Promise<void> | undefined;
  private stop = new AbortController();
  private swept = 0;
  private failure: unknown;

  constructor(private readonly options: SweeperOptions) {}

  get name(): string {
    return this.options.name;
  }

  async open(): Promise<void> {
    this.stop = new AbortController();
    this.schedule();
  }

  /** A sweep that failed costs room, not data. */
  async check(): Promise<CheckResult> {
    const details = { swept: this.swept };
    if (this.failure === undefined) return { status: 'healthy', details };
    const reason = isStorageError(this.failure) ? this.failure.code : foreignErrorName(this.failure);
    return { status: 'degraded', message: `The last sweep of expired records failed (${reason})`, details };
  }

  async close(deadline: number): Promise<void> {
    const { clock } = this.options;
    this.timer?.cancel();
    this.timer = undefined;
    this.stop.abort();
    if (this.running === undefined) return;
    let patience: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      patience = clock.after(Math.max(0, deadline - clock.monotonic()), resolve);
    });
    await Promise.race([this.running, late]).finally(() => patience?.cancel());
  }

  private schedule(): void {
    const { clock, interval } = this.options;
    if (interval === 0 || this.stop.signal.aborted) return;
    // Give or take a tenth, so that many processes do not sweep at one moment.
    const wait = interval * (0.9 + Math.random() * 0.2);
    this.timer = clock.after(
      wait,
      () => {
        this.running = this.sweep()
          .then(
            () => (this.failure = undefined),
            (error: unknown) => (this.failure = this.stop.signal.aborted ? undefined : error),
          )
          .then(() => {
            this.running = undefined;
            this.schedule();
          });
      },
      { background: true },
    );
  }

  private async sweep(): Promise<void> {
    const { backend, clock, collections } = this.options;
    const sweepers = collections().flatMap((collection): Sweep[] => [
      ...(collection.sweep === undefined ? [] : [collection.sweep.bind(collection, backend)]),
      backend.sweep.bind(backend, collection),
    ]);
    for (const sweep of sweepers)
      for (let deleted = BATCH; deleted === BATCH;) {
        const now = clock.now();
        const context = { now, deadline: clock.monotonic() + BATCH_TIMEOUT, signal: this.stop.signal };
        deleted = await sweep(new Date(now.getTime() - GRACE), BATCH, context);
        this.swept += deleted;
      }
  }
}
