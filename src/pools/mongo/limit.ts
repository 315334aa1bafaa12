/** The end of one operation: its deadline, its caller's signal, or the pool that closes under it. */
import { aborted, type Clock, type Timer, timerDelay } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { type StorageError, TimeoutError } from '../../errors.js';

export class Limit {
  /** For the server: it stops what nobody waits for any more. */
  readonly maxTimeMS: number;
  private readonly timer: Timer;
  private readonly onAbort: (() => void) | undefined;
  private controller: AbortController | undefined;
  private reason: StorageError | undefined;
  private refuse: ((error: StorageError) => void) | undefined;

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

  /**
   * Aborts with the error of the cut; the client then closes the connection it was using. It is made when it is asked for:
   * in the client a signal costs a quarter of a short read.
   */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.reason !== undefined) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  cut(error: StorageError): void {
    if (this.reason !== undefined) return;
    this.reason = error;
    this.controller?.abort(error);
    this.refuse?.(error);
  }

  /** What `work` gives, or the error of the cut: no later than it. @param onDone when `work` is over, cut or not */
  race<R>(work: Promise<R>, onDone: () => void): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.reason !== undefined) reject(this.reason);
      this.refuse = reject;
      work.then(
        (result) => {
          onDone();
          resolve(result);
        },
        (error: Error) => {
          onDone();
          reject(error);
        },
      );
    });
  }

  end(): void {
    this.timer.cancel();
    if (this.onAbort !== undefined) this.context.signal?.removeEventListener('abort', this.onAbort);
  }
}
