/** Writes the batches of a load one after another, each while the next is made ready. */
import { isStorageError, type StorageError } from '../errors.js';
import type { RecordSchema, Write, WriteResult } from '../backends/backend.js';
import type { RecordCodec } from './record-codec.js';

export interface LoadProgress {
  readonly written: number;
  readonly failed: number;
}

export interface LoadReport extends LoadProgress {
  /** The first 100 failures; `index` counts the source's items from 0. */
  readonly failures: { readonly index: number; readonly id?: string; readonly error: StorageError }[];
}

type Insert = Write & { readonly kind: 'insert' };

export interface LoadTarget {
  readonly codec: RecordCodec<unknown>;
  readonly schema: RecordSchema;
  resolveIds(given: readonly (string | undefined)[]): Promise<string[]>;
  write(writes: readonly Write[]): Promise<WriteResult[]>;
  /** Whether `write` writes all or none; else it stops at its first failure. */
  readonly atomic: boolean;
  /** All or none. */
  readonly bulkLoad: ((writes: readonly Insert[]) => Promise<void>) | undefined;
}

/** An item of the source that can be written. */
export interface Pending {
  readonly index: number;
  /** Absent: the collection makes one. */
  readonly id: string | undefined;
  readonly bound: number;
  /** Its id is set when the batch is written. */
  readonly write: { -readonly [K in keyof Insert]: Insert[K] };
}

type Failure = LoadReport['failures'][number];

/** Items that stand one after another in the source. */
export interface Batch {
  readonly items: Pending[];
  /** Those among them that are at fault themselves. */
  readonly refused: Failure[];
  /** The ids that were given. */
  readonly ids: Set<string>;
  bound: number;
}

const BATCH_ITEMS = 500;
const BULK_ITEMS = 2_500;
/** In how many parts what was refused is tried again, down to the items at fault. */
const PARTS = 8;
const SHOWN_FAILURES = 100;

export class LoadWriter {
  readonly batchItems: number;
  /** A batch could not be written: `start` and `end` throw why. */
  failed = false;
  private written = 0;
  private failures = 0;
  private readonly shown: Failure[] = [];
  private running: Promise<void> = Promise.resolve();
  /** How many batches in a row were refused in bulk, and how many from now on are not tried. */
  private refusals = 0;
  private untried = 0;

  constructor(
    private readonly target: LoadTarget,
    private readonly onProgress: ((progress: LoadProgress) => void) | undefined,
  ) {
    this.batchItems = target.bulkLoad === undefined ? BATCH_ITEMS : BULK_ITEMS;
  }

  /** Begins to write a batch when the one before is written. @throws what ended that one. */
  async start(batch: Batch): Promise<void> {
    await this.running;
    this.running = this.run(batch);
    // It is thrown by the next call.
    this.running.catch(() => (this.failed = true));
  }

  /** Waits for the last batch. @throws what ended it. */
  end(): Promise<void> {
    return this.running;
  }

  report(): LoadReport {
    return { ...this.progress(), failures: this.shown };
  }

  private progress(): LoadProgress {
    return { written: this.written, failed: this.failures };
  }

  private async run({ items, refused }: Batch): Promise<void> {
    const failures = [...refused];
    if (items.length > 0) {
      const ids = await this.target.resolveIds(items.map(({ id }) => id));
      const inserts = items.map(({ write }, i): Insert => {
        write.id = ids[i]!;
        return write;
      });
      if (await this.writeInBulk(inserts)) this.written += items.length;
      else await this.writeInPortions(items, inserts, failures);
    }
    failures.sort((a, b) => a.index - b.index);
    this.failures += failures.length;
    this.shown.push(...failures.slice(0, SHOWN_FAILURES - this.shown.length));
    this.onProgress?.(this.progress());
  }

  /**
   * A given id may be there, and is then to be replaced: but what is loaded mostly is new. After a refusal the next batches
   * are written the other way, one more each time.
   * @returns whether it was written.
   */
  private async writeInBulk(inserts: readonly Insert[]): Promise<boolean> {
    const { bulkLoad } = this.target;
    if (bulkLoad === undefined) return false;
    if (this.untried > 0) {
      this.untried--;
      return false;
    }
    try {
      await bulkLoad(inserts);
      this.refusals = 0;
      return true;
    } catch (error) {
      if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
      this.untried = ++this.refusals;
      return false;
    }
  }

  private async writeInPortions(
    items: readonly Pending[],
    inserts: readonly Insert[],
    failures: Failure[],
  ): Promise<void> {
    const { codec, atomic } = this.target;
    const writes = items.map(({ id }, i): Write => (id === undefined ? inserts[i]! : { ...inserts[i]!, kind: 'put' }));
    const write = async (start: number, end: number): Promise<void> => {
      const error = await this.attempt(writes.slice(start, end));
      if (error === undefined) return;
      if (end - start > 1) return split(start, end, atomic ? Math.ceil((end - start) / PARTS) : 1);
      failures.push({ index: items[start]!.index, id: codec.decodeId(writes[start]!.id), error });
    };
    const split = async (start: number, end: number, size: number): Promise<void> => {
      for (let at = start; at < end; at += size) await write(at, Math.min(at + size, end));
    };
    await split(0, writes.length, BATCH_ITEMS);
  }

  /** @returns why nothing was written, or not all where batches are not atomic, when that is the records' own fault. */
  private async attempt(writes: readonly Write[]): Promise<StorageError | undefined> {
    const { codec, atomic } = this.target;
    try {
      const results = await this.target.write(writes);
      results.forEach((result, i) => {
        // An id of our own making was there before only by the attempt that was cut short.
        if (!atomic && writes.length === 1 && writes[0]!.kind === 'insert' && result.status === 'exists') return;
        const failure = codec.failure(result, writes[i]!.id, 'load');
        if (failure !== undefined) throw failure;
      });
      this.written += writes.length;
      return undefined;
    } catch (error) {
      if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
      return error;
    }
  }
}
