/** The events of an aggregate, those that are there and then each new one. */
import type { Clock } from '../clock.js';
import type { EventBus, StoreEvent } from './events.js';

export interface WatchOptions {
  /** The `seq` of the last event known; default 0: from the first. */
  readonly after?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between two looks for events of other processes; default 1,000. */
  readonly interval?: number | undefined;
}

interface WatchHost {
  readonly clock: Clock;
  readonly events: EventBus;
  onClosing(listener: () => void): () => void;
}

/** @param list those after a `seq`, the oldest first */
export async function* watchEvents(
  host: WatchHost,
  aggregateId: string,
  list: (after: number) => Promise<StoreEvent[]>,
  options: WatchOptions,
): AsyncGenerator<StoreEvent, void, undefined> {
  const { signal, interval = 1_000 } = options;
  let { after = 0 } = options;
  let wake: () => void = () => undefined;
  let woken = false;
  const rouse = (): void => {
    woken = true;
    wake();
  };
  const stops = [host.events.on('*', (event) => event.aggregateId === aggregateId && rouse()), host.onClosing(rouse)];
  signal?.addEventListener('abort', rouse, { once: true });
  try {
    while (signal?.aborted !== true) {
      woken = false;
      const events = await list(after);
      for (const event of events) {
        yield event;
        after = event.seq;
      }
      if (events.length > 0 || woken) continue;
      await new Promise<void>((resolve) => {
        const timer = host.clock.after(interval, resolve);
        wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
  } finally {
    for (const stop of stops) stop();
    signal?.removeEventListener('abort', rouse);
  }
}
