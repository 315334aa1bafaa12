/** What others read while a transaction is open. */
import { sleep, systemClock } from '../clock.js';

/** Where one connection serves all, what others read waits for the end of the transaction: it is not waited for in there. */
const PATIENCE = 200;

/** Gives a read, begun outside of a transaction that is open, the time to be answered before that ends. */
export async function letRead(read: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const patience = sleep(systemClock, PATIENCE, over.signal).catch(() => undefined);
  await Promise.race([read.catch(() => undefined), patience]);
  over.abort();
}
