/** One call of a handler with a message: it ends with the handler, at its time limit, or when it is given up. */
import type { Clock } from '../../clock.js';
import { TimeoutError, type StorageError } from '../../errors.js';
import { LazyAbort } from '../lazy-abort.js';
import type { OutboxMessage } from '../outbox/records.js';
import type { DeliveryContext, Handler } from './options.js';

export interface Fault {
  readonly error: unknown;
}

export interface CallOfHandler extends Pick<DeliveryContext, 'attempt' | 'token'> {
  readonly handler: Handler;
  readonly message: OutboxMessage;
  /** Milliseconds. */
  readonly timeout: number;
}

export class HandlerCall {
  private end!: (fault?: Fault) => void;
  private readonly aborting = new LazyAbort((error) => this.end({ error }));

  constructor(
    private readonly clock: Clock,
    private readonly call: CallOfHandler,
  ) {}

  /** @returns the fault of the delivery, if it has one. A handler that was given up goes on, maybe beside the next call. */
  run(): Promise<Fault | undefined> {
    const { aborting } = this;
    const { handler, message, attempt, token, timeout } = this.call;
    const context = {
      get signal() {
        return aborting.signal;
      },
      attempt,
      token,
    };
    return new Promise((resolve) => {
      const timer = this.clock.after(timeout, () =>
        this.abort(new TimeoutError(`The handler took longer than ${timeout} ms`, { operation: 'relay' })),
      );
      const end = (fault?: Fault): void => {
        timer.cancel();
        resolve(fault);
      };
      this.end = end;
      try {
        Promise.resolve(handler(message, context)).then(
          () => end(),
          (error: unknown) => end({ error }),
        );
      } catch (error) {
        end({ error });
      }
    });
  }

  abort(reason: StorageError): void {
    this.aborting.abort(reason);
  }
}
