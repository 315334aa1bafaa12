/** The end of one operation: its deadline, its caller's signal, or the pool that closes under it. */
import { listenToAbort } from '../../abort.js';
import { aborted, type Clock, type Timer, timerDelay } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { type StorageError, TimeoutError } from '../../errors.js';

export class Limit {
  /** For the server: it stops what nobody waits for any more. */
  readonly maxTimeMS: number;
  private readonly timer: Timer;
  private readonly unlisten: () => void;
  private controller: AbortController | undefined;
  private cutBy: StorageError | undefined;
  private refuse: ((error: StorageError) => void) | undefined;

  /** @param spare what operations that were not cut have left: to make an `AbortController` costs more than all else here */
  constructor(
    context: Pick<OperationContext, 'deadline' | 'signal'>,
    clock: Clock,
    component: string,
    private readonly spare: AbortController[],
  ) {
    const remaining = context.deadline - clock.monotonic();
    this.maxTimeMS = Math.min(Math.max(1, Math.ceil(remaining)), 2 ** 31 - 1);
    this.timer = clock.after(timerDelay(remaining), () =>
      this.cut(new TimeoutError('The deadline of the operation has passed', { component })),
    );
    const { signal } = context;
    this.unlisten = listenToAbort(signal, () => this.cut(aborted(signal!)));
  }

  /** Why nothing more is to be asked of the client. */
  get reason(): StorageError | undefined {
    return this.cutBy;
  }

  /** Aborts with the error of the cut; the client then closes the connection it was using, and tries nothing again. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = this.spare.pop() ?? new AbortController();
      if (this.cutBy !== undefined) this.controller.abort(this.cutBy);
    }
    return this.controller.signal;
  }

  cut(error: StorageError): void {
    if (this.cutBy !== undefined) return;
    this.cutBy = error;
    this.controller?.abort(error);
    this.refuse?.(error);
  }

  /** What `work` gives, or the error of the cut: no later than it. @param onDone when `work` is over, cut or not */
  race<R>(work: Promise<R>, onDone: () => void): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.cutBy !== undefined) reject(this.cutBy);
      this.refuse = reject;
      const finish = (): void => {
        this.leaveSignal();
        onDone();
      };
      work.then(
        (result) => {
          finish();
          resolve(result);
        },
        (error: Error) => {
          finish();
          reject(error);
        },
      );
    });
  }

  end(): void {
    this.timer.cancel();
    this.unlisten();
  }

  private leaveSignal(): void {
    if (this.controller !== undefined && this.cutBy === undefined) this.spare.push(this.controller);
    this.controller = undefined;
  }
}
