/** What is being computed in this process: who asks for the same meanwhile gets the same. */
import { isStorageError } from '../../errors.js';

export class Flights<R> {
  private readonly running = new Map<string, Promise<R>>();

  /** @throws what `compute` throws, to all who wait; but each has a time and a signal of its own. */
  async share(id: string, compute: () => Promise<R>): Promise<R> {
    for (;;) {
      const known = this.running.get(id);
      if (known === undefined) break;
      try {
        return await known;
      } catch (error) {
        // The caller who computed gave up: that is no reason for the others.
        if (!isStorageError(error, 'ABORTED') && !isStorageError(error, 'TIMEOUT')) throw error;
      }
    }
    const own = compute().finally(() => this.running.delete(id));
    this.running.set(id, own);
    return own;
  }
}
