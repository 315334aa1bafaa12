/** Requests that a service bounds in number and in size, and several of them at once. */
import { setImmediate } from 'node:timers/promises';

export interface BatchLimits {
  readonly items: number;
  readonly bytes: number;
}

/**
 * Cuts items into as few parts as the limits allow, in their order; each part is made when it is asked for. What alone is
 * too large is a part of its own.
 */
export function* cut<T>(items: Iterable<T>, limits: BatchLimits, bytesOf: (item: T) => number): Generator<T[]> {
  let part: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item);
    if (part.length > 0 && (part.length >= limits.items || bytes + size > limits.bytes)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

/** Does `work` for all parts at once. When one fails the others end first: nothing runs on after an operation. */
export async function all<T, R>(parts: Iterable<T>, work: (part: T) => Promise<R>): Promise<R[]> {
  const running: Promise<PromiseSettledResult<R>>[] = [];
  for (const part of parts) {
    running.push(Promise.allSettled([work(part)]).then(([result]) => result));
    // To make a part of large vectors takes long: others get their turn before the next one.
    await setImmediate();
  }
  return (await Promise.all(running)).map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
