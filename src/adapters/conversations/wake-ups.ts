/** Waiting for what is written to a conversation. */
import type { StoreHost } from '../host.js';

export interface WakeUps {
  /** From now on something new ends the next waiting. */
  arm(): void;
  /** Resolves when something was written since `arm`: at once for what this process writes, else after the interval. */
  next(): Promise<void>;
  stop(): void;
}

export function wakeUps(
  host: StoreHost,
  conversation: string,
  interval: number,
  signal: AbortSignal | undefined,
): WakeUps {
  let woken = false;
  let wake: () => void = () => undefined;
  const tell = (): void => {
    woken = true;
    wake();
  };
  const stops = [
    host.events.on('conversation.message', ({ aggregateId }) => (aggregateId === conversation ? tell() : undefined)),
    host.onClosing(tell),
  ];
  signal?.addEventListener('abort', tell, { once: true });
  return {
    arm: () => void (woken = false),
    next: () =>
      new Promise<void>((resolve) => {
        if (woken) return resolve();
        const timer = host.clock.after(interval, resolve);
        wake = () => {
          timer.cancel();
          resolve();
        };
      }),
    stop: () => {
      signal?.removeEventListener('abort', tell);
      for (const stop of stops) stop();
    },
  };
}
