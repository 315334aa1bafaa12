/** Writing any number of records: batches one after another, each bounded in items and bytes. */
import { isStorageError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { BatchPipeline } from '../../loading/pipeline.js';
import type { Source, SourceHost } from '../../loading/source.js';
import { VECTOR_LIMITS as LIMITS } from '../codec/limits.js';
import type { EncodedVector } from '../codec/record.js';
import type { StoredVector } from '../provider.js';
import type { UpsertProgress, UpsertReport } from './options.js';

export interface UpsertTarget extends SourceHost {
  readonly maxBatch: number;
  readonly onProgress: ((progress: UpsertProgress) => void) | undefined;
  write(records: readonly StoredVector[]): Promise<{ readonly token?: string }>;
}

const SHOWN_FAILURES = 100;

/** Writes what an array was encoded to. */
export async function upsertEncoded(records: readonly EncodedVector[], target: UpsertTarget): Promise<UpsertReport> {
  const upsert = new Upsert(target);
  await upsert.run(records, (vector) => vector);
  return upsert.report();
}

/**
 * Writes what a source gives; what cannot be stored is reported.
 * @param encode throws `VALIDATION` or `UNSUPPORTED` for what cannot be stored.
 */
export async function upsertSource(
  records: Source<unknown>,
  encode: (input: unknown, at: string) => EncodedVector,
  target: UpsertTarget,
): Promise<UpsertReport> {
  const upsert = new Upsert(target);
  await upsert.run(records, (input, index) => {
    try {
      return encode(input, `records[${index}]`);
    } catch (error) {
      if (!isStorageError(error, 'VALIDATION') && !isStorageError(error, 'UNSUPPORTED')) throw error;
      const id = isPlainObject(input) && typeof input['id'] === 'string' ? input['id'] : undefined;
      upsert.refuse({ index, ...(id === undefined ? {} : { id }), error });
      return undefined;
    }
  });
  return upsert.report();
}

class Upsert {
  /** The batch being made: of several records with one id the last is kept. */
  private batch = new Map<string, StoredVector>();
  private items = 0;
  private bytes = 0;
  private written = 0;
  private token: string | undefined;
  private failed = 0;
  private readonly failures: UpsertReport['failures'][number][] = [];
  private readonly pipeline = new BatchPipeline();

  constructor(private readonly target: UpsertTarget) {}

  run<T>(records: Source<T>, encode: (record: T, index: number) => EncodedVector | undefined): Promise<void> {
    const take = (record: T, index: number): Promise<void> | undefined => {
      const vector = encode(record, index);
      return vector === undefined ? undefined : this.add(vector);
    };
    return this.pipeline.run(records, this.target, take, () => this.flush());
  }

  refuse(failure: UpsertReport['failures'][number]): void {
    this.failed++;
    if (this.failures.length < SHOWN_FAILURES) this.failures.push(failure);
  }

  report(): UpsertReport {
    const { written, failed, failures, token } = this;
    return { written, failed, failures, ...(token === undefined ? {} : { token }) };
  }

  private add(vector: EncodedVector): Promise<void> | undefined {
    const flushed = this.isFull(vector) ? this.flush() : undefined;
    const { record, bytes } = vector;
    this.batch.set(record.id, record);
    this.items++;
    this.bytes += bytes;
    return flushed;
  }

  private flush(): Promise<void> {
    const { batch, items } = this;
    this.batch = new Map();
    this.items = 0;
    this.bytes = 0;
    return this.pipeline.start(() => this.write([...batch.values()], items));
  }

  private async write(records: readonly StoredVector[], items: number): Promise<void> {
    if (records.length > 0) {
      const { token } = await this.target.write(records);
      this.token = token ?? this.token;
      this.written += items;
    }
    this.target.onProgress?.({ written: this.written, failed: this.failed });
  }

  /** By what was taken, also where a later record of the same id replaced it: a source may give a few ids for ever. */
  private isFull({ bytes }: EncodedVector): boolean {
    return this.items >= this.target.maxBatch || (this.bytes > 0 && this.bytes + bytes > LIMITS.batchBytes);
  }
}
