/** The items of `saveMany`, checked one by one before any I/O. */
import type { Encoded } from '../backends/value.js';
import { invalid } from '../errors.js';
import { isPlainObject } from '../filter/json.js';
import { checkOptions, type SaveManyItem } from './options.js';
import type { RecordCodec } from './record-codec.js';

export interface SaveItem {
  /** In its stored form; absent where the collection is to make one. */
  readonly id: string | undefined;
  readonly ttl: number | undefined;
  readonly encoded: Encoded;
}

/** @throws `VALIDATION`, whose message and `details.item` name the item. */
export function encodeItems<In>(codec: RecordCodec<unknown>, items: readonly SaveManyItem<In>[]): Promise<SaveItem[]> {
  return Promise.all(Array.from(items, (item, i) => encodeItem(codec, item, `items[${i}]`)));
}

async function encodeItem<In>(codec: RecordCodec<unknown>, item: SaveManyItem<In>, at: string): Promise<SaveItem> {
  if (!isPlainObject(item)) throw invalid(at, item, 'an object with a value');
  checkOptions(item, 'saveManyItem', at);
  const { id, value, ttl } = item as SaveManyItem<In>;
  codec.checkTtl(ttl, at);
  const given = id === undefined && !codec.needsId ? undefined : codec.encodeNewId(id, at);
  return { id: given, ttl, encoded: await codec.encode(value, at) };
}
