/** The events of an aggregate, those that are there and then each new one. */
import type { StoreEvent } from './events.js';
import { wakeUps, type WakeUpHost } from './wake-ups.js';

export interface WatchOptions {
  /** The `seq` of the last event known; default 0: from the first. */
  readonly after?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between two looks for events of other processes; default 1,000. */
  readonly interval?: number | undefined;
}

/** @param list those after a `seq`, the oldest first */
export async function* watchEvents(
  host: WakeUpHost,
  aggregateId: string,
  list: (after: number) => Promise<StoreEvent[]>,
  options: WatchOptions,
): AsyncGenerator<StoreEvent, void, undefined> {
  const { signal, interval = 1_000 } = options;
  let { after = 0 } = options;
  const wakes = wakeUps(host, '*', aggregateId, interval, signal);
  try {
    while (signal?.aborted !== true) {
      wakes.arm();
      const events = await list(after);
      for (const event of events) {
        yield event;
        after = event.seq;
      }
      if (events.length === 0) await wakes.next();
    }
  } finally {
    wakes.stop();
  }
}
