/** The end of one call to the client: its deadline, its caller's signal, or the pool that closes under it. */
import { aborted, type Clock, type Timer } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { type StorageError, TimeoutError } from '../../errors.js';
import { timerDelay } from '../slot.js';

export class Limit {
  /** For the server: it stops what nobody waits for any more. */
  readonly maxTimeMS: number;
  private readonly controller = new AbortController();
  private readonly timer: Timer;
  private readonly onAbort: (() => void) | undefined;

  constructor(
    private readonly context: Pick<OperationContext, 'deadline' | 'signal'>,
    clock: Clock,
    component: string,
  ) {
    const remaining = context.deadline - clock.monotonic();
    this.maxTimeMS = Math.min(Math.max(1, Math.ceil(remaining)), 2 ** 31 - 1);
    this.timer = clock.after(timerDelay(remaining), () =>
      this.cut(new TimeoutError('The deadline of the operation has passed', { component })),
    );
    const { signal } = context;
    if (signal === undefined) return;
    this.onAbort = () => this.cut(aborted(signal));
    signal.addEventListener('abort', this.onAbort, { once: true });
  }

  /** Aborts with the error that the operation is to fail with; the client closes the connection it was using. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  cut(error: StorageError): void {
    this.controller.abort(error);
  }

  /** What `work` gives, or the error of the cut: no later than it. */
  race<R>(work: Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      this.signal.addEventListener('abort', () => reject(this.signal.reason as StorageError), { once: true });
      work.then(resolve, reject);
    });
  }

  end(): void {
    this.timer.cancel();
    if (this.onAbort !== undefined) this.context.signal?.removeEventListener('abort', this.onAbort);
  }
}
