/** Reads a source and writes what it gives in batches, each while the next is made ready. */
import { SourceReader, type Source, type SourceHost } from './source.js';

/** How many items the source gives before the sockets get a turn: the batch before is on its way meanwhile. */
const ITEMS_A_TURN = 64;

export class BatchPipeline {
  private running: Promise<void> = Promise.resolve();
  private onFailure: ((error: unknown) => void) | undefined;

  /** Begins to write a batch when the one before is written. @throws what ended that one. */
  async start(write: () => Promise<void>): Promise<void> {
    await this.running;
    this.running = write();
    // It is thrown by the next call.
    this.running.catch((error: unknown) => this.onFailure?.(error));
  }

  /**
   * @param take starts a batch when it is full. It gives no promise where there is nothing to wait for.
   * @param flush starts the last one.
   * @throws what the source, a batch, or one of the two threw. Then nothing is written any more, and the source is closed.
   */
  async run<T>(
    source: Source<T>,
    host: SourceHost,
    take: (item: T, index: number) => Promise<void> | undefined,
    flush: () => Promise<void>,
  ): Promise<void> {
    const reader = new SourceReader(source, host);
    this.onFailure = (error) => reader.stop(error);
    try {
      for (let index = 0; ;) {
        const given = reader.next();
        const item = given instanceof Promise ? await given : given;
        if (item.done === true) break;
        const taken = take(item.value, index);
        if (taken !== undefined) await taken;
        if (++index % ITEMS_A_TURN === 0) await reader.turn();
      }
      await flush();
      await this.running;
    } catch (error) {
      reader.close();
      await this.running.catch(() => undefined);
      throw error;
    } finally {
      reader.close();
    }
  }
}
