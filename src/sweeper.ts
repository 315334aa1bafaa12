/** Deletes in the background what has expired. It is hidden since the moment it expired; this gives its room back. */
import type { RecordBackend, RecordSchema } from './backends/backend.js';
import type { Clock } from './clock.js';
import type { CheckResult, Component, OperationContext } from './component.js';
import { foreignErrorName, isStorageError } from './errors.js';
import { Recurring } from './recurring.js';

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
  private readonly recurring: Recurring;
  private swept = 0;

  constructor(private readonly options: SweeperOptions) {
    const { clock, interval } = options;
    this.recurring = new Recurring({ clock, interval, work: (signal) => this.sweep(signal) });
  }

  get name(): string {
    return this.options.name;
  }

  async open(): Promise<void> {
    this.recurring.start();
  }

  /** A sweep that failed costs room, not data. */
  async check(): Promise<CheckResult> {
    const details = { swept: this.swept };
    const { failure } = this.recurring;
    if (failure === undefined) return { status: 'healthy', details };
    const reason = isStorageError(failure) ? failure.code : foreignErrorName(failure);
    return { status: 'degraded', message: `The last sweep of expired records failed (${reason})`, details };
  }

  close(deadline: number): Promise<void> {
    return this.recurring.stop(deadline);
  }

  private async sweep(signal: AbortSignal): Promise<void> {
    const { backend, clock, collections } = this.options;
    const sweepers = collections().flatMap((collection): Sweep[] => [
      ...(collection.sweep === undefined ? [] : [collection.sweep.bind(collection, backend)]),
      backend.sweep.bind(backend, collection),
    ]);
    let failure: { readonly error: unknown } | undefined;
    for (const sweep of sweepers)
      try {
        for (let deleted = BATCH; deleted === BATCH;) {
          const now = clock.now();
          const context = { now, deadline: clock.monotonic() + BATCH_TIMEOUT, signal };
          deleted = await sweep(new Date(now.getTime() - GRACE), BATCH, context);
          this.swept += deleted;
        }
      } catch (error) {
        if (signal.aborted) throw error;
        // One that fails every time would leave those after it full for ever.
        failure ??= { error };
      }
    if (failure !== undefined) throw failure.error;
  }
}
