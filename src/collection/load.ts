/** Loading any number of records from a stream. */
import type { StorageError } from '../errors.js';
import { invalid, isStorageError } from '../errors.js';
import type { CallOptions } from '../component.js';
import type { RecordSchema, Write, WriteResult } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { checkOptions } from './options.js';
import { checkDate, type RecordCodec } from './record-codec.js';

export interface LoadItem<T> {
  readonly value: T;
  readonly id?: string;
  /** Default: now. What an import keeps. */
  readonly createdAt?: Date;
  readonly expiresAt?: Date;
}

export interface LoadProgress {
  readonly written: number;
  readonly failed: number;
}

export interface LoadOptions extends CallOptions {
  /** Called after each batch. `timeout` bounds one batch, not the whole load. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

export interface LoadReport extends LoadProgress {
  readonly written: number;
  readonly failed: number;
  /** The first 100 failures; `index` counts the source's items from 0. */
  readonly failures: { readonly index: number; readonly id?: string; readonly error: StorageError }[];
}

interface LoadTarget {
  readonly codec: RecordCodec<unknown>;
  readonly schema: RecordSchema;
  write(writes: readonly Write[]): Promise<WriteResult[]>;
  resolveIds(given: readonly (string | undefined)[]): Promise<string[]>;
}

interface Pending {
  readonly index: number;
  readonly id: string | undefined;
  readonly bound: number;
  readonly write: Omit<Write & { kind: 'insert' }, 'id'> | Omit<Write & { kind: 'put' }, 'id'>;
}

const BATCH_ITEMS = 500;
const SHOWN_FAILURES = 100;

export async function loadRecords<T>(
  items: Iterable<LoadItem<T>> | AsyncIterable<LoadItem<T>>,
  options: LoadOptions,
  target: LoadTarget,
): Promise<LoadReport> {
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
    throw invalid('onProgress', options.onProgress, 'a function');
  if (typeof items !== 'object' || items === null || !(Symbol.iterator in items || Symbol.asyncIterator in items))
    throw invalid('items', items, 'an iterable or async iterable');
  const report = { written: 0, failed: 0, failures: [] as LoadReport['failures'] };
  const fail = (index: number, id: string | undefined, error: StorageError): void => {
    report.failed++;
    if (report.failures.length < SHOWN_FAILURES)
      report.failures.push({ index, ...(id === undefined ? {} : { id }), error });
  };
  let batch: Pending[] = [];
  let bound = 0;
  let index = 0;
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await writeBatch(batch, target, report, fail);
    batch = [];
    bound = 0;
    options.onProgress?.({ written: report.written, failed: report.failed });
  };
  for await (const item of items) {
    // Only what is wrong with the item itself is the item's: a batch that cannot be written ends the load.
    const pending = await prepare(item, index, target).catch((error: unknown) => {
      if (!isStorageError(error, 'VALIDATION')) throw error;
      fail(index, undefined, error);
    });
    index++;
    if (pending !== undefined) {
      const repeats = pending.id !== undefined && batch.some((other) => other.id === pending.id);
      if (batch.length === BATCH_ITEMS || bound + pending.bound > LIMITS.batchBytes || repeats) await flush();
      batch.push(pending);
      bound += pending.bound;
    }
  }
  await flush();
  return report;
}

async function prepare<T>(item: LoadItem<T>, index: number, { codec, schema }: LoadTarget): Promise<Pending> {
  if (typeof item !== 'object' || item === null) throw invalid(`items[${index}]`, item, 'an object with a value');
  checkOptions(item, 'loadItem', `items[${index}]`);
  const id = item.id === undefined && !codec.needsId ? undefined : codec.encodeNewId(item.id);
  const createdAt = checkDate(item.createdAt, 'createdAt');
  const expiresAt = checkDate(item.expiresAt, 'expiresAt');
  const { value, bound } = await codec.encode(item.value);
  return {
    index,
    id,
    bound,
    write: {
      collection: schema,
      kind: id === undefined ? 'insert' : 'put',
      value,
      ...(createdAt === undefined ? {} : { createdAt }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    },
  };
}

/** The batch at once; when it is refused, item by item, to write what can be written and name what cannot. */
async function writeBatch(
  batch: readonly Pending[],
  target: LoadTarget,
  report: { written: number },
  fail: (index: number, id: string | undefined, error: StorageError) => void,
): Promise<void> {
  const ids = await target.resolveIds(batch.map((pending) => pending.id));
  const writes = batch.map((pending, i): Write => ({ ...pending.write, id: ids[i]! }));
  const attempt = async (portion: readonly Write[]): Promise<void> => {
    const results = await target.write(portion);
    results.forEach((result, i) => {
      const failure = target.codec.failure(result, portion[i]!.id, 'load');
      if (failure !== undefined) throw failure;
    });
    report.written += portion.length;
  };
  try {
    return await attempt(writes);
  } catch (error) {
    if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
  }
  for (const [i, write] of writes.entries()) {
    try {
      await attempt([write]);
    } catch (error) {
      if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
      fail(batch[i]!.index, target.codec.decodeId(write.id), error);
    }
  }
}
