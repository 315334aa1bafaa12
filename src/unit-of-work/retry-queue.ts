/** Transactions that lost against others run again one after another: side by side they would lose against each other. */
import type { Clock } from '../clock.js';
import type { Pool } from '../pools/pool.js';

/** Milliseconds that one waits for its turn: its function may take long, and have nothing to do with the others. */
const PATIENCE = 250;

const QUEUES = new WeakMap<Pool, Promise<void>>();

/** Runs `work` when those of the pool that came before it have ended, or at its patience's end. */
export async function runInTurn<R>(pool: Pool, clock: Clock, work: () => Promise<R>): Promise<R> {
  const before = QUEUES.get(pool);
  let leave!: () => void;
  QUEUES.set(pool, new Promise((resolve) => (leave = resolve)));
  try {
    if (before !== undefined) await endOrPatience(before, clock);
    return await work();
  } finally {
    leave();
  }
}

function endOrPatience(before: Promise<void>, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(PATIENCE, resolve);
    void before.then(() => {
      timer.cancel();
      resolve();
    });
  });
}
