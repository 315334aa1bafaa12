/**
 * The turns of transactions that run again. Those that have lost a conflict more than once run one after another: side by
 * side they would lose against each other again.
 */
import { listenToAbort } from '../abort.js';
import { timerDelay, type Clock } from '../clock.js';
import type { OperationContext } from '../component.js';
import type { Pool } from '../pools/pool.js';

/** Milliseconds that one waits for its turn: its function may take long, and have nothing to do with the others. */
const PATIENCE = 250;

type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

const QUEUES = new WeakMap<Pool, Promise<void>>();

/** Runs `work` when those of the pool that came before it have ended, at its patience's end, or when its bounds end the wait. */
export async function runInTurn<R>(pool: Pool, clock: Clock, bounds: Bounds, work: () => Promise<R>): Promise<R> {
  const before = QUEUES.get(pool);
  let leave!: () => void;
  QUEUES.set(pool, new Promise((resolve) => (leave = resolve)));
  try {
    if (before !== undefined) await endOrPatience(before, clock, bounds);
    return await work();
  } finally {
    leave();
  }
}

function endOrPatience(before: Promise<void>, clock: Clock, { deadline, signal }: Bounds): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const end = (): void => {
      timer.cancel();
      unlisten();
      resolve();
    };
    const timer = clock.after(Math.min(PATIENCE, timerDelay(deadline - clock.monotonic())), end);
    const unlisten = listenToAbort(signal, end);
    void before.then(end);
  });
}
