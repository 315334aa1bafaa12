/** Writing vectors from an array or a stream: validated, in batches, one after another. */
import type { StorageError } from '../../errors.js';
import { invalid, isStorageError } from '../../errors.js';
import type { CallOptions } from '../../component.js';
import { encodeVectorRecord, type VectorRecord } from '../codec.js';
import type { StoredVector, VectorSchema } from '../provider.js';

export interface UpsertProgress {
  readonly written: number;
  readonly failed: number;
}

export interface UpsertOptions extends CallOptions {
  readonly namespace?: string;
  /** Called after each batch. `timeout` bounds one batch. */
  readonly onProgress?: (progress: UpsertProgress) => void;
}

export interface UpsertReport {
  readonly written: number;
  /** Of a stream: what was refused. `index` counts the source's records from 0. */
  readonly failed: { readonly index: number; readonly id?: string; readonly error: StorageError }[];
  /** What a read with `consistency: 'session'` waits for, where the provider is eventually consistent. */
  readonly token?: string;
}

type Source<M> = readonly VectorRecord<M>[] | Iterable<VectorRecord<M>> | AsyncIterable<VectorRecord<M>>;
type WriteBatch = (batch: readonly StoredVector[]) => Promise<{ readonly token?: string }>;

export async function upsertAll<M>(
  records: Source<M>,
  schema: VectorSchema,
  batchSize: number,
  options: UpsertOptions,
  write: WriteBatch,
): Promise<UpsertReport> {
  const failed: UpsertReport['failed'] = [];
  let written = 0;
  let token: string | undefined;
  let batch = new Map<string, StoredVector>();
  const flush = async (): Promise<void> => {
    if (batch.size === 0) return;
    const size = batch.size;
    ({ token = token } = await write([...batch.values()]));
    written += size;
    batch = new Map();
    options.onProgress?.({ written, failed: failed.length });
  };
  let index = 0;
  for await (const record of Array.isArray(records) ? validated(records as VectorRecord<M>[], schema) : records) {
    try {
      const encoded = Array.isArray(records) ? (record as StoredVector) : encodeVectorRecord(record, schema);
      // An id twice in a batch: the last one wins, and stands last.
      batch.delete(encoded.id);
      batch.set(encoded.id, encoded);
    } catch (error) {
      if (!isStorageError(error, 'VALIDATION')) throw error;
      const id = (record as { id?: unknown } | undefined)?.id;
      failed.push({ index, ...(typeof id === 'string' ? { id } : {}), error });
    }
    index++;
    if (batch.size === batchSize) await flush();
  }
  await flush();
  return token === undefined ? { written, failed } : { written, failed, token };
}

/** An array is whole before anything is written: one wrong record refuses all. */
function validated<M>(records: readonly VectorRecord<M>[], schema: VectorSchema): StoredVector[] {
  return records.map((record, i) => encodeVectorRecord(record, schema, `records[${i}]`));
}

export function checkSource(records: unknown): void {
  if (
    typeof records !== 'object' ||
    records === null ||
    !(Symbol.iterator in records || Symbol.asyncIterator in records)
  )
    throw invalid('records', records, 'an array, an iterable or an async iterable');
}
