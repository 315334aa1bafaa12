/** The events of an aggregate, those that are there and then each new one. */
import { integer, optional, shape, withDefault } from './arguments.js';
import type { StoreEvent } from './events.js';
import { signal } from './options.js';
import { endableLoop, orNoneIfAborted, wakeUps, type LoopEnd, type WakeUpHost } from './wake-ups.js';

export interface WatchOptions {
  /** The `seq` of the last event known; default 0: from the first. */
  readonly after?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between two looks for events of other processes; default 1,000. */
  readonly interval?: number | undefined;
}

const SEQ = integer(0, Number.MAX_SAFE_INTEGER);

/** What `tail` and `watchEvents` take. */
export const WATCH_MEMBERS = {
  after: withDefault(SEQ, 0),
  signal: optional(signal),
  interval: withDefault(integer(1, 3_600_000), 1_000),
};
const readWatchOptions = shape(WATCH_MEMBERS);

export type EventsFrom = Pick<WatchOptions, 'after' | 'signal'>;

/** @param readId gives the aggregate's @param list those after a `seq`, the oldest first */
export function watchEvents(
  host: WakeUpHost,
  readId: () => string,
  list: (aggregateId: string, from: EventsFrom) => Promise<StoreEvent[]>,
  options: WatchOptions,
): AsyncGenerator<StoreEvent, void, undefined> {
  return endableLoop((end) => watch(host, readId, list, options, end));
}

async function* watch(
  host: WakeUpHost,
  readId: () => string,
  list: (aggregateId: string, from: EventsFrom) => Promise<StoreEvent[]>,
  options: WatchOptions,
  end: LoopEnd,
): AsyncGenerator<StoreEvent, void, undefined> {
  const aggregateId = readId();
  const { after: first, signal: given, interval } = readWatchOptions(options, 'options');
  let after = first;
  const { signal } = end;
  const isAborted = (): boolean => signal.aborted;
  end.follow(given);
  const wakes = wakeUps(host, '*', aggregateId, interval, signal);
  try {
    while (!isAborted()) {
      wakes.arm();
      const events = await orNoneIfAborted(list(aggregateId, { after, signal }), signal);
      for (const event of events) {
        if (isAborted()) return;
        yield event;
        after = event.seq;
      }
      if (events.length === 0) await wakes.next();
    }
  } finally {
    wakes.stop();
    end.end();
  }
}
