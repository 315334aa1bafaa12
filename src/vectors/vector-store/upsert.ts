/** Writing any number of records: batches one after another, each bounded in items and bytes. */
import { invalid, isStorageError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { VECTOR_LIMITS as LIMITS } from '../codec/limits.js';
import type { EncodedVector } from '../codec/record.js';
import type { StoredVector } from '../provider.js';
import type { UpsertProgress, UpsertReport } from './options.js';

export interface UpsertTarget {
  readonly maxBatch: number;
  readonly onProgress: ((progress: UpsertProgress) => void) | undefined;
  /** @throws `VALIDATION` for what cannot be stored. */
  encode(input: unknown, at: string): EncodedVector;
  write(records: readonly StoredVector[]): Promise<{ readonly token?: string }>;
}

const SHOWN_FAILURES = 100;

type Source = Iterable<unknown> | AsyncIterable<unknown>;

/** @throws `VALIDATION` for what is no iterable. */
export function checkSource(records: unknown): Source {
  if (
    typeof records !== 'object' ||
    records === null ||
    !(Symbol.iterator in records || Symbol.asyncIterator in records)
  )
    throw invalid('records', records, 'an array, an iterable or an async iterable of records');
  return records as Source;
}

/** Writes what an array was encoded to, or what an iterable gives: there, what cannot be stored is reported. */
export async function upsertAll(
  records: readonly EncodedVector[] | Source,
  target: UpsertTarget,
): Promise<UpsertReport> {
  const upsert = new Upsert(target);
  try {
    if (Array.isArray(records)) {
      for (const vector of records as readonly EncodedVector[]) await upsert.add(vector);
    } else {
      let index = 0;
      for await (const input of records as Source) {
        if (upsert.ended) break;
        const vector = upsert.encode(input, index++);
        if (vector !== undefined) await upsert.add(vector);
      }
    }
    await upsert.flush();
    await upsert.end();
  } catch (error) {
    // Once it has ended nothing of it is written any more.
    await upsert.end().catch(() => undefined);
    throw error;
  }
  return upsert.report();
}

/** One batch is written while the next is read and encoded. */
class Upsert {
  /** A batch could not be written: `flush` and `end` throw why. */
  ended = false;
  /** The batch being made: of several records with one id the last is kept. */
  private batch = new Map<string, StoredVector>();
  private items = 0;
  private bytes = 0;
  private written = 0;
  private running: Promise<void> = Promise.resolve();
  private token: string | undefined;
  private failed = 0;
  private readonly failures: UpsertReport['failures'][number][] = [];

  constructor(private readonly target: UpsertTarget) {}

  /** `undefined` for what cannot be stored, which is then reported. */
  encode(input: unknown, index: number): EncodedVector | undefined {
    try {
      return this.target.encode(input, `records[${index}]`);
    } catch (error) {
      if (!isStorageError(error, 'VALIDATION')) throw error;
      const id = isPlainObject(input) && typeof input['id'] === 'string' ? input['id'] : undefined;
      this.failed++;
      if (this.failures.length < SHOWN_FAILURES)
        this.failures.push({ index, ...(id === undefined ? {} : { id }), error });
      return undefined;
    }
  }

  async add(vector: EncodedVector): Promise<void> {
    if (this.isFull(vector)) await this.flush();
    const { record, bytes } = vector;
    this.batch.set(record.id, record);
    this.items++;
    this.bytes += bytes;
  }

  /** Begins to write the batch when the one before is written. @throws what ended that one. */
  async flush(): Promise<void> {
    const { batch, items } = this;
    this.batch = new Map();
    this.items = 0;
    this.bytes = 0;
    await this.running;
    this.running = this.write([...batch.values()], items);
    // It is thrown by the next call.
    this.running.catch(() => (this.ended = true));
  }

  /** @throws what ended the last batch. */
  end(): Promise<void> {
    return this.running;
  }

  private async write(records: readonly StoredVector[], items: number): Promise<void> {
    if (records.length > 0) {
      const { token } = await this.target.write(records);
      this.token = token ?? this.token;
      this.written += items;
    }
    this.target.onProgress?.({ written: this.written, failed: this.failed });
  }

  private isFull({ record, bytes }: EncodedVector): boolean {
    if (this.batch.has(record.id)) return false;
    return this.batch.size >= this.target.maxBatch || (this.bytes > 0 && this.bytes + bytes > LIMITS.batchBytes);
  }

  report(): UpsertReport {
    const { written, failed, failures, token } = this;
    return { written, failed, failures, ...(token === undefined ? {} : { token }) };
  }
}
