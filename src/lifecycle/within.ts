import type { Clock } from '../clock.js';

/** Waits for `work` until `limit` (of `Clock.monotonic`). @returns whether it settled in time; it must not reject. */
export function within(clock: Clock, work: Promise<unknown>, limit: number): Promise<boolean> {
  const remaining = limit - clock.monotonic();
  if (remaining <= 0) return Promise.resolve(false);
  return new Promise((resolve) => {
    const timer = clock.after(remaining, () => resolve(false));
    void work.then(() => {
      timer.cancel();
      resolve(true);
    });
  });
}
