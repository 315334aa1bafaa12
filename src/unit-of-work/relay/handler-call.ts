/** One call of a handler with a message: it ends with the handler, at its time limit, or when it is given up. */
import type { Clock } from '../../clock.js';
import { TimeoutError, type StorageError } from '../../errors.js';
import { LazyAbort } from '../lazy-abort.js';
import type { OutboxMessage } from '../outbox/records.js';
import type { DeliveryContext, Handler } from './options.js';

export interface Fault {
  readonly error: unknown;
}

export class HandlerCall {
  /** The fault of the delivery, if it has one. A handler that was given up goes on, maybe beside the next call. */
  readonly ended: Promise<Fault | undefined>;
  private readonly aborting: LazyAbort;

  /** @param timeout milliseconds */
  constructor(
    clock: Clock,
    handler: Handler,
    message: OutboxMessage,
    { attempt, token, timeout }: Pick<DeliveryContext, 'attempt' | 'token'> & { readonly timeout: number },
  ) {
    let end!: (fault?: Fault) => void;
    const ended = new Promise<Fault | undefined>((resolve) => (end = resolve));
    const aborting = (this.aborting = new LazyAbort((error) => end({ error })));
    const timer = clock.after(timeout, () =>
      aborting.abort(new TimeoutError(`The handler took longer than ${timeout} ms`, { operation: 'relay' })),
    );
    this.ended = ended.finally(() => timer.cancel());
    const context = {
      get signal() {
        return aborting.signal;
      },
      attempt,
      token,
    };
    const handled = (async () => handler(message, context))();
    handled.then(
      () => end(),
      (error: unknown) => end({ error }),
    );
  }

  abort(reason: StorageError): void {
    this.aborting.abort(reason);
  }
}
