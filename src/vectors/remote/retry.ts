/** When a call to a service is made again. */
export interface RetryOptions {
  /** How often a call is made at most, the first time included. */
  readonly attempts: number;
  /** Milliseconds that the wait after the first failure may last; after each further one twice as many. */
  readonly baseDelay: number;
  /** Milliseconds that no wait exceeds, unless the service asks for more. */
  readonly maxDelay: number;
}

/**
 * Milliseconds to wait after the failure of this number, from 1. Full jitter: callers that failed together do not come
 * back together. What the service asked for comes before it.
 * @param random 0 to 1, as `Math.random`.
 */
export function retryDelay(
  { baseDelay, maxDelay }: RetryOptions,
  failed: number,
  retryAfter: number | undefined,
  random: () => number,
): number {
  return (retryAfter ?? 0) + random() * Math.min(maxDelay, baseDelay * 2 ** (failed - 1));
}

/** Milliseconds that a `Retry-After` header asks for, in seconds or as a date; `undefined` for none, or for neither. */
export function parseRetryAfter(header: string | null | undefined, now: Date): number | undefined {
  if (header === null || header === undefined) return undefined;
  const text = header.trim();
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1_000;
  // `Date.parse` would take a negative number for a year.
  const date = /^[a-z]{3}/i.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now.getTime());
}
