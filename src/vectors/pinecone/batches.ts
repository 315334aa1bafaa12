/** Requests that a service bounds in number and in size, and several of them at once. */

export interface BatchLimits {
  readonly items: number;
  readonly bytes: number;
}

/** Cuts a list into as few parts as the limits allow, in its order. What alone is too large is a part of its own. */
export function cut<T>(items: readonly T[], limits: BatchLimits, bytesOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let part: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item);
    if (part.length > 0 && (part.length >= limits.items || bytes + size > limits.bytes)) {
      parts.push(part);
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += size;
  }
  return part.length > 0 ? [...parts, part] : parts;
}

/** Does `work` for all parts at once. When one fails the others end first: nothing runs on after an operation. */
export async function all<T, R>(parts: readonly T[], work: (part: T) => Promise<R>): Promise<R[]> {
  const results = await Promise.allSettled(parts.map(work));
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
