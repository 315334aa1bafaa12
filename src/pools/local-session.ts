/** A transaction on one connection of a pool: it must end by its deadline, or nobody else gets the connection. */
import { listenToAbort } from '../abort.js';
import { type Clock, timerDelay } from '../clock.js';
import type { OperationContext, Session } from '../component.js';
import { StorageError, TimeoutError } from '../errors.js';
import type { Pool } from './pool.js';
import { boundsExceeded } from './slot.js';
import { TurnQueue } from './turn-queue.js';

/** What a session fails by where a statement of `context` has failed by `fault`. */
export function faultIn({ faultOf }: OperationContext, fault: StorageError): StorageError {
  return faultOf === undefined ? fault : faultOf(fault);
}

export class LocalSession implements Session {
  failure: StorageError | undefined;
  /** How many savepoints are around what runs now. */
  depth = 0;
  /** Of its statements, and of what runs alone. */
  readonly turns: TurnQueue;
  /** What ended it; `true`: it was not cut. No error is made of every end: its stack takes longer than the rest of it. */
  private ended: StorageError | true | undefined;
  private cutWork: ((error: StorageError) => void) | undefined;

  constructor(
    readonly pool: Pool,
    private readonly bounds: OperationContext,
    readonly clock: Clock,
  ) {
    this.turns = new TurnQueue(clock, pool.name);
  }

  get deadline(): number {
    return this.bounds.deadline;
  }

  /** Why nothing of it can be kept any more: it has ended, or its deadline or signal has ended it. */
  get over(): StorageError | undefined {
    return this.endedBy() ?? boundsExceeded(this.bounds, this.clock.monotonic(), this.pool.name);
  }

  /** Why an operation cannot run in it: it has ended, has failed, or its deadline or signal forbids it. */
  refusal(context: OperationContext = this.bounds): StorageError | undefined {
    const now = this.clock.monotonic();
    const component = this.pool.name;
    return (
      this.endedBy() ??
      this.failure ??
      boundsExceeded(this.bounds, now, component) ??
      (context === this.bounds ? undefined : boundsExceeded(context, now, component))
    );
  }

  /** Runs a statement, or what is to be none, in its turn. @throws what `work` throws; `TIMEOUT`, `ABORTED` */
  inTurn<R>(context: OperationContext, work: () => Promise<R>): Promise<R> {
    return (context.turns ?? this.turns).run(context, work);
  }

  /** Lets an operation run a statement. @returns why it cannot, as `refusal` */
  admit(context: OperationContext): StorageError | undefined {
    const refusal = this.refusal(context);
    if (refusal === undefined) context.onStatement?.();
    return refusal;
  }

  /** Runs `work` until it settles, or until the deadline, the signal or `cut` ends the session under it. */
  run<R>(work: (session: Session) => Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      const { deadline, signal } = this.bounds;
      const finish = (): void => {
        timer.cancel();
        unlisten();
        this.cutWork = undefined;
      };
      const cut = (error: StorageError): void => {
        this.ended ??= error;
        finish();
        reject(error);
      };
      const onAbort = (): void => cut(boundsExceeded(this.bounds, this.clock.monotonic(), this.pool.name)!);
      const timer = this.clock.after(timerDelay(deadline - this.clock.monotonic()), () =>
        cut(new TimeoutError('The deadline of the transaction has passed', { component: this.pool.name })),
      );
      this.cutWork = cut;
      const unlisten = listenToAbort(signal, onAbort);
      // A signal that aborted while the transaction began tells it nobody any more.
      const over = boundsExceeded(this.bounds, this.clock.monotonic(), this.pool.name);
      if (over !== undefined) return cut(over);
      Promise.resolve(this as Session)
        .then(work)
        .finally(finish)
        .then(resolve, reject);
    });
  }

  /** Ends the session while its work runs: `run` rejects with `error`. */
  cut(error: StorageError): void {
    this.cutWork?.(error);
  }

  /** From now on every operation in it is refused with `CLOSED`. */
  end(): void {
    this.ended ??= true;
  }

  private endedBy(): StorageError | undefined {
    return this.ended === true
      ? new StorageError('CLOSED', 'The transaction has ended', { component: this.pool.name })
      : this.ended;
  }
}
