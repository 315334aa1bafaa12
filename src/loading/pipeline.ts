/** Reads a source and writes what it gives in batches, while the next is made ready. */
import { SourceReader, type Source, type SourceHost } from './source.js';

/** How many items the source gives before the sockets get a turn: the batch before is on its way meanwhile. */
const ITEMS_A_TURN = 64;

export class BatchPipeline {
  /** Batches on their way, in their order. */
  private readonly running: Promise<void>[] = [];
  private failure: { readonly error: unknown } | undefined;
  private onFailure: ((error: unknown) => void) | undefined;

  /** @param lanes how many batches may be on their way at once */
  constructor(private readonly lanes = 1) {}

  /**
   * Begins to write a batch when there is a lane for it.
   * @param follows not before all the others are written @throws what ended one of them
   */
  async start(write: () => Promise<void>, follows = false): Promise<void> {
    const others = follows ? 0 : this.lanes - 1;
    while (this.running.length > others) await this.running.shift();
    if (this.failure !== undefined) throw this.failure.error;
    const writing = write();
    this.running.push(writing);
    // It is thrown by the next call.
    writing.catch((error: unknown) => {
      this.failure ??= { error };
      this.onFailure?.(error);
    });
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
      await Promise.all(this.running);
    } catch (error) {
      reader.close();
      await Promise.allSettled(this.running);
      throw error;
    } finally {
      reader.close();
    }
  }
}
