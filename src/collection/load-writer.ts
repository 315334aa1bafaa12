/** Writes the batches of a load: in bulk, or in portions down to the items at fault. */
import { isStorageError, type StorageError } from '../errors.js';
import type { RecordSchema, Write, WriteResult } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { BulkAttempts } from '../loading/bulk.js';
import type { SourceHost } from '../loading/source.js';
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

export interface LoadTarget extends SourceHost {
  readonly codec: RecordCodec<unknown>;
  readonly schema: RecordSchema;
  resolveIds(given: readonly (string | undefined)[]): Promise<string[]>;
  write(writes: readonly Write[]): Promise<WriteResult[]>;
  /** How many batches may be on their way at once. */
  readonly lanes: number;
  /** Whether `write` writes all or none; else it is asked to write one at a time. */
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
/** The bound of a text is six times what it mostly is. */
const BULK_BOUND = 4 * LIMITS.batchBytes;
/** In how many parts what was refused is tried again, down to the items at fault. */
const PARTS = 8;
const SHOWN_FAILURES = 100;

export class LoadWriter {
  readonly batchItems: number;
  private readonly batchBound: number;
  private written = 0;
  private failures = 0;
  private readonly shown: Failure[] = [];
  private readonly bulk = new BulkAttempts();

  constructor(
    private readonly target: LoadTarget,
    private readonly onProgress: ((progress: LoadProgress) => void) | undefined,
  ) {
    const inBulk = target.bulkLoad !== undefined;
    this.batchItems = inBulk ? BULK_ITEMS : BATCH_ITEMS;
    this.batchBound = inBulk ? BULK_BOUND : LIMITS.batchBytes;
  }

  fits(pending: Pending, { items, ids, bound }: Batch): boolean {
    if (items.length === 0) return true;
    return (
      items.length < this.batchItems &&
      bound + pending.bound <= this.batchBound &&
      (pending.id === undefined || !ids.has(pending.id))
    );
  }

  report(): LoadReport {
    return { ...this.progress(), failures: this.shown };
  }

  private progress(): LoadProgress {
    return { written: this.written, failed: this.failures };
  }

  /** @throws what is not the items' own fault. */
  async write({ items, refused }: Batch): Promise<void> {
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
    this.failures += failures.length;
    // Batches that are on their way together may end in another order than that of the source.
    this.shown.push(...failures);
    this.shown.sort((a, b) => a.index - b.index).splice(SHOWN_FAILURES);
    this.onProgress?.(this.progress());
  }

  /** @returns whether it was written: a given id may be there, and is then to be replaced. */
  private async writeInBulk(inserts: readonly Insert[]): Promise<boolean> {
    const { bulkLoad } = this.target;
    return bulkLoad !== undefined && (await this.bulk.write(() => bulkLoad(inserts)));
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
      const size = Math.ceil((end - start) / PARTS);
      if (end - start === 1)
        failures.push({ index: items[start]!.index, id: codec.decodeId(writes[start]!.id), error });
      else for (let at = start; at < end; at += size) await write(at, Math.min(at + size, end));
    };
    // Where a batch is not atomic it could not be tried again: what of it was written would be written twice.
    const most = atomic ? BATCH_ITEMS : 1;
    for (let start = 0, end = 0; start < items.length; start = end) {
      let bound = items[end++]!.bound;
      while (end < items.length && end - start < most && bound + items[end]!.bound <= LIMITS.batchBytes)
        bound += items[end++]!.bound;
      await write(start, end);
    }
  }

  /** @returns why nothing was written, when that is the records' own fault. */
  private async attempt(writes: readonly Write[]): Promise<StorageError | undefined> {
    const { codec } = this.target;
    try {
      const results = await this.target.write(writes);
      results.forEach((result, i) => {
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
