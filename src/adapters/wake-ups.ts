/** Waiting for what is written to an aggregate. */
import type { Clock } from '../clock.js';
import { isStorageError } from '../errors.js';
import { LoopPause } from '../unit-of-work/loop-pause.js';
import type { EventBus } from './events.js';

export interface WakeUpHost {
  readonly clock: Clock;
  readonly events: EventBus;
  onClosing(listener: () => void): () => void;
}

export interface WakeUps {
  /** From now on something new ends the next waiting. */
  arm(): void;
  /** Resolves when something was written since `arm`: at once for what this process writes, else after the interval. */
  next(): Promise<void>;
  stop(): void;
}

/** @param type of the events that wake; `*` for all @param interval milliseconds */
export function wakeUps(
  host: WakeUpHost,
  type: string,
  aggregate: string,
  interval: number,
  signal: AbortSignal | undefined,
): WakeUps {
  const pauses = new LoopPause(host.clock);
  const tell = (): void => pauses.wake();
  const stops = [
    host.events.on(type, ({ aggregateId }) => (aggregateId === aggregate ? tell() : undefined)),
    host.onClosing(tell),
  ];
  signal?.addEventListener('abort', tell, { once: true });
  return {
    arm: () => pauses.look(),
    next: () => pauses.pause(interval),
    stop: () => {
      signal?.removeEventListener('abort', tell);
      for (const stop of stops) stop();
    },
  };
}

/** What a read of a loop finds: nothing where the signal that ends the loop has ended it. @throws what else it throws */
export async function orNoneIfAborted<R>(read: Promise<R[]>, signal: AbortSignal | undefined): Promise<R[]> {
  return read.catch((error: unknown) => {
    if (signal?.aborted === true && isStorageError(error, 'ABORTED')) return [];
    throw error;
  });
}
