/** Waiting for what others do, within the bounds of one operation. */
import { aborted, type Clock } from '../clock.js';
import type { OperationContext } from '../component.js';
import { TimeoutError } from '../errors.js';

/** What `work` gives. @param late says what took too long @throws what `work` throws; `ABORTED`, `TIMEOUT` */
export function waitWithin<R>(
  work: Promise<R>,
  { signal, deadline }: OperationContext,
  clock: Clock,
  late: string,
): Promise<R> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      end();
      reject(aborted(signal!));
    };
    const timer = clock.after(deadline - clock.monotonic(), () => {
      end();
      reject(new TimeoutError(late));
    });
    if (signal?.aborted === true) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    work.finally(end).then(resolve, reject);
  });
}
