/** Loading any number of records from a stream. */
import { invalid, isStorageError } from '../errors.js';
import type { CallOptions } from '../component.js';
import type { Encoded } from '../backends/value.js';
import { BatchPipeline } from '../loading/pipeline.js';
import { checkSource, type Source } from '../loading/source.js';
import {
  LoadWriter,
  type Batch,
  type LoadProgress,
  type LoadReport,
  type LoadTarget,
  type Pending,
} from './load-writer.js';
import type { IdKind } from './definition.js';
import { checkOptions, type Naming } from './options.js';
import { checkDate } from './record-codec.js';

export type LoadItem<T, I extends IdKind = IdKind> = LoadedRecord<T> & Naming<I>;

interface LoadedRecord<T> {
  readonly value: T;
  readonly id?: string | undefined;
  /** Default: now. What an import keeps. */
  readonly createdAt?: Date | undefined;
  readonly expiresAt?: Date | undefined;
}

export interface LoadOptions extends CallOptions {
  /**
   * Called after each batch, with counts; they are no place in the source, of whose batches the later may be written first.
   * `timeout` bounds each batch, and where it is given each wait for the source too; not the whole load.
   */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

export async function loadRecords<T>(
  items: Source<LoadItem<T>>,
  options: LoadOptions,
  target: LoadTarget,
): Promise<LoadReport> {
  const { onProgress } = options;
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw invalid('onProgress', onProgress, 'a function');
  checkSource(items, 'items', 'an iterable or async iterable');
  const pipeline = new BatchPipeline(target.lanes);
  const writer = new LoadWriter(target, onProgress);
  let batch = emptyBatch();
  /** The ids of batches that may be on their way. */
  let before: ReadonlySet<string>[] = [];
  const flush = (): Promise<void> => {
    const full = batch;
    batch = emptyBatch();
    // Of one id the last record counts.
    const follows = before.some((ids) => meet(full.ids, ids));
    before = [full.ids, ...before].slice(0, target.lanes - 1);
    return pipeline.start(() => writer.write(full), follows);
  };
  const add = (pending: Pending): Promise<void> | undefined => {
    const flushed = writer.fits(pending, batch) ? undefined : flush();
    batch.items.push(pending);
    batch.bound += pending.bound;
    if (pending.id !== undefined) batch.ids.add(pending.id);
    return flushed;
  };
  // Only what is wrong with the item itself is the item's: what else is thrown ends the load.
  const refuse = (index: number, error: unknown): Promise<void> | undefined => {
    if (!isStorageError(error, 'VALIDATION')) throw error;
    batch.refused.push({ index, error });
    return batch.refused.length === writer.batchItems ? flush() : undefined;
  };
  const take = (item: LoadItem<T>, index: number): Promise<void> | undefined => {
    let pending: Pending | Promise<Pending>;
    try {
      pending = prepare(item, index, target);
    } catch (error) {
      return refuse(index, error);
    }
    if (!(pending instanceof Promise)) return add(pending);
    return pending.then(add, (error: unknown) => refuse(index, error));
  };
  await pipeline.run(items, target, take, flush);
  return writer.report();
}

function meet(some: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  for (const id of some) if (others.has(id)) return true;
  return false;
}

function emptyBatch(): Batch {
  return { items: [], refused: [], ids: new Set(), bound: 0 };
}

function prepare<T>(item: LoadItem<T>, index: number, { codec, schema }: LoadTarget): Pending | Promise<Pending> {
  if (typeof item !== 'object' || item === null) throw invalid(`items[${index}]`, item, 'an object with a value');
  checkOptions(item, 'loadItem', `items[${index}]`);
  const id = item.id === undefined && !codec.needsId ? undefined : codec.encodeNewId(item.id);
  const createdAt = checkDate(item.createdAt, 'createdAt');
  const expiresAt = checkDate(item.expiresAt, 'expiresAt');
  const encoding = codec.encode(item.value);
  const pending = ({ value, bound }: Encoded): Pending => {
    const write: Pending['write'] = { collection: schema, kind: 'insert', id: id ?? '', value };
    if (createdAt !== undefined) write.createdAt = createdAt;
    if (expiresAt !== undefined) write.expiresAt = expiresAt;
    return { index, id, bound, write };
  };
  return encoding instanceof Promise ? encoding.then(pending) : pending(encoding);
}
