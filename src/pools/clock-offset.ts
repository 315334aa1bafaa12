/** How far a server's clock is from this host's, by one question and its answer. */

export interface ClockReading {
  /** Milliseconds that the server's clock is ahead, if its answer was made halfway. */
  readonly ahead: number;
  /** The round trip, in milliseconds. */
  readonly latency: number;
}

/** What took longer tells less of the clock than an earlier reading. */
const SLOW = 1_000;
/** From here on leases and times to live of this host are not what the server's other clients mean by them. */
const WORRYING = 1_000;

/**
 * In whole milliseconds; what the reading cannot tell from none (half the round trip, and a clock's millisecond) is none.
 * @param known of an earlier reading, which a slow one does not change.
 */
export function clockOffset({ ahead, latency }: ClockReading, known?: number): number {
  if (known !== undefined && latency > SLOW) return known;
  return Math.abs(ahead) <= latency / 2 + 1 ? 0 : Math.round(ahead);
}

/** What a health check has to say of the offset, if anything. */
export function offsetWarning(offset: number): string | undefined {
  if (Math.abs(offset) <= WORRYING) return undefined;
  return `The server's clock is ${Math.abs(offset)} ms ${offset > 0 ? 'ahead of' : 'behind'} this host's`;
}
