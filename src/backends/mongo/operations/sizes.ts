/** What collections take, by the server's own figures. */
import type { Document, MongoUse } from '../../../pools/mongo/operation-use.js';
import type { CollectionStats, DatabaseStats, IndexInfo, TableInfo } from '../../operations.js';
import { ID_INDEX } from '../fault.js';

const NAME = /^[a-z][a-z0-9_]{0,47}$/;
const PREFIX = 'qm_';

export function collectionOf(name: string): string | undefined {
  const collection = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : '';
  return NAME.test(collection) ? collection : undefined;
}

/** The names of all collections, views and the server's own left out. */
export async function collectionNames(use: MongoUse): Promise<string[]> {
  const { signal } = use.callBounds();
  const all = await use.db.listCollections({ type: 'collection' }, { nameOnly: true, signal }).toArray();
  return all
    .map(({ name }) => name)
    .filter((name) => !name.startsWith('system.'))
    .sort();
}

interface Storage {
  readonly count: number;
  readonly storageSize: number;
  readonly totalIndexSize: number;
  readonly indexSizes: Readonly<Record<string, number>>;
}

/** Summed over the shards. */
async function storageOf(use: MongoUse, name: string): Promise<Storage> {
  const parts = await use
    .collection(name)
    .aggregate<Document>([{ $collStats: { storageStats: {} } }], use.callBounds())
    .toArray();
  const sum = { count: 0, storageSize: 0, totalIndexSize: 0, indexSizes: {} as Record<string, number> };
  for (const { storageStats } of parts as { storageStats: Storage }[]) {
    sum.count += Number(storageStats.count);
    sum.storageSize += Number(storageStats.storageSize);
    sum.totalIndexSize += Number(storageStats.totalIndexSize);
    for (const [index, bytes] of Object.entries(storageStats.indexSizes))
      sum.indexSizes[index] = (sum.indexSizes[index] ?? 0) + Number(bytes);
  }
  return sum;
}

export async function stats(use: MongoUse, exact: boolean): Promise<DatabaseStats> {
  const collections: CollectionStats[] = [];
  for (const name of await collectionNames(use)) {
    const collection = collectionOf(name);
    if (collection === undefined) continue;
    const { count, storageSize, totalIndexSize } = await storageOf(use, name);
    const records = exact ? await use.collection(name).countDocuments({}, use.callBounds()) : count;
    collections.push({ collection, records, exact, bytes: storageSize, indexBytes: totalIndexSize });
  }
  return { collections };
}

export async function tables(use: MongoUse): Promise<TableInfo[]> {
  const infos: TableInfo[] = [];
  for (const name of await collectionNames(use)) {
    const collection = collectionOf(name);
    const { count, storageSize, totalIndexSize } = await storageOf(use, name);
    const own = collection === undefined ? {} : { collection };
    infos.push({ name, ...own, records: count, bytes: storageSize, indexBytes: totalIndexSize });
  }
  return infos;
}

export async function databaseSize(use: MongoUse): Promise<number> {
  const { signal, maxTimeMS } = use.callBounds();
  const { storageSize, indexSize } = await use.db.command({ dbStats: 1, maxTimeMS }, { signal });
  return Number(storageSize) + Number(indexSize);
}

interface ListedIndex {
  readonly name: string;
  readonly key: Document;
  readonly unique?: boolean;
}

export async function indexes(use: MongoUse, names: readonly string[]): Promise<IndexInfo[]> {
  const infos: IndexInfo[] = [];
  for (const name of names) {
    const { indexSizes } = await storageOf(use, name);
    const uses = await usesOf(use, name);
    const collection = collectionOf(name);
    const listed = (await use.collection(name).listIndexes(use.callBounds()).toArray()) as ListedIndex[];
    for (const index of listed)
      infos.push({
        name: index.name,
        table: name,
        ...(collection === undefined ? {} : { collection }),
        unique: index.unique === true || index.name === ID_INDEX,
        valid: true,
        bytes: indexSizes[index.name] ?? 0,
        uses: uses.get(index.name) ?? 0,
        definition: JSON.stringify(index.key),
      });
  }
  return infos;
}

/** Summed over the members of a cluster that answer. */
async function usesOf(use: MongoUse, name: string): Promise<Map<string, number>> {
  const uses = new Map<string, number>();
  const parts = use.collection(name).aggregate<Document>([{ $indexStats: {} }], use.callBounds());
  for (const part of (await parts.toArray()) as { name: string; accesses: { ops: unknown } }[])
    uses.set(part.name, (uses.get(part.name) ?? 0) + Number(part.accesses.ops));
  return uses;
}
