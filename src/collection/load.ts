/** Loading any number of records from a stream. */
import { invalid, isStorageError } from '../errors.js';
import type { CallOptions } from '../component.js';
import { LIMITS } from '../backends/limits.js';
import {
  LoadWriter,
  type Batch,
  type LoadProgress,
  type LoadReport,
  type LoadTarget,
  type Pending,
} from './load-writer.js';
import { checkOptions } from './options.js';
import { checkDate } from './record-codec.js';

export interface LoadItem<T> {
  readonly value: T;
  readonly id?: string;
  /** Default: now. What an import keeps. */
  readonly createdAt?: Date;
  readonly expiresAt?: Date;
}

export interface LoadOptions extends CallOptions {
  /** Called after each batch. `timeout` bounds one batch, not the whole load. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** How many items the source gives before the sockets get a turn: the batch before is on its way meanwhile. */
const ITEMS_A_TURN = 64;

export async function loadRecords<T>(
  items: Iterable<LoadItem<T>> | AsyncIterable<LoadItem<T>>,
  options: LoadOptions,
  target: LoadTarget,
): Promise<LoadReport> {
  const { onProgress } = options;
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw invalid('onProgress', onProgress, 'a function');
  if (typeof items !== 'object' || items === null || !(Symbol.iterator in items || Symbol.asyncIterator in items))
    throw invalid('items', items, 'an iterable or async iterable');
  const writer = new LoadWriter(target, onProgress);
  let batch = emptyBatch();
  let index = 0;
  const flush = async (): Promise<void> => {
    const full = batch;
    batch = emptyBatch();
    await writer.start(full);
  };
  try {
    for await (const item of items) {
      if (writer.failed) break;
      const pending = await prepare(item, index, target).catch((error: unknown) => {
        // Only what is wrong with the item itself is the item's: a batch that cannot be written ends the load.
        if (!isStorageError(error, 'VALIDATION')) throw error;
        batch.refused.push({ index, error });
      });
      if (pending !== undefined) {
        if (!fits(pending, batch, writer.batchItems)) await flush();
        batch.items.push(pending);
        batch.bound += pending.bound;
        if (pending.id !== undefined) batch.ids.add(pending.id);
      } else if (batch.refused.length === writer.batchItems) await flush();
      if (++index % ITEMS_A_TURN === 0) await new Promise(setImmediate);
    }
    await flush();
    await writer.end();
    return writer.report();
  } catch (error) {
    // Once a load has ended nothing of it is written any more.
    await writer.end().catch(() => undefined);
    throw error;
  }
}

function emptyBatch(): Batch {
  return { items: [], refused: [], ids: new Set(), bound: 0 };
}

function fits(pending: Pending, { items, ids, bound }: Batch, most: number): boolean {
  if (items.length === 0) return true;
  return (
    items.length < most &&
    bound + pending.bound <= LIMITS.batchBytes &&
    (pending.id === undefined || !ids.has(pending.id))
  );
}

async function prepare<T>(item: LoadItem<T>, index: number, { codec, schema }: LoadTarget): Promise<Pending> {
  if (typeof item !== 'object' || item === null) throw invalid(`items[${index}]`, item, 'an object with a value');
  checkOptions(item, 'loadItem', `items[${index}]`);
  const id = item.id === undefined && !codec.needsId ? undefined : codec.encodeNewId(item.id);
  const createdAt = checkDate(item.createdAt, 'createdAt');
  const expiresAt = checkDate(item.expiresAt, 'expiresAt');
  const encoding = codec.encode(item.value);
  const { value, bound } = encoding instanceof Promise ? await encoding : encoding;
  const write: Pending['write'] = { collection: schema, kind: 'insert', id: id ?? '', value };
  if (createdAt !== undefined) write.createdAt = createdAt;
  if (expiresAt !== undefined) write.expiresAt = expiresAt;
  return { index, id, bound, write };
}
