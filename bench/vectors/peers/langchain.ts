/** LangChain's store on pgvector. Its ids are UUIDs, so the records' own go into their metadata; it inserts and cannot overwrite. */
import { randomUUID } from 'node:crypto';
import type { Filter, Metadata } from 'quartermaster';
import { batches, loadPeer, type OpenPeer, type Peer, type PeerTable } from './peer.js';

interface Document {
  readonly pageContent: string;
  readonly metadata: Metadata;
}

interface Store {
  addVectors(vectors: readonly number[][], documents: readonly Document[], options: { ids: string[] }): Promise<void>;
  createHnswIndex(config: { dimensions: number; m: number; efConstruction: number }): Promise<void>;
  similaritySearchVectorWithScore(vector: number[], k: number, filter?: object): Promise<[Document, number][]>;
  end(): Promise<void>;
}

interface Library {
  readonly PGVectorStore: { initialize(embeddings: object, config: object): Promise<Store> };
}

export function loadLangChain(): OpenPeer | undefined {
  const library = loadPeer('@langchain/community/vectorstores/pgvector') as Library | undefined;
  return library && ((table) => openTable(library, table));
}

async function openTable({ PGVectorStore }: Library, { url, table, dimension }: PeerTable): Promise<Peer> {
  const store = await PGVectorStore.initialize(
    {},
    { postgresConnectionOptions: { connectionString: url }, tableName: table, dimensions: dimension },
  );
  return {
    async write(records) {
      for (const batch of batches(records))
        await store.addVectors(
          batch.map(({ vector }) => vector),
          batch.map(({ id, metadata }) => ({ pageContent: '', metadata: { ...metadata, id } })),
          { ids: batch.map(() => randomUUID()) },
        );
    },
    index: () => store.createHnswIndex({ dimensions: dimension, m: 16, efConstruction: 64 }),
    async search(vector, filter) {
      const hits = await store.similaritySearchVectorWithScore(vector, 10, operatorsOf(filter));
      return hits.map(([{ metadata }]) => metadata['id'] as string);
    },
    close: () => store.end(),
  };
}

/** Its operators are ours without the dollar, as far as these filters go. */
function operatorsOf(filter: Filter<Metadata>): object {
  return JSON.parse(JSON.stringify(filter).replaceAll('"$', '"')) as object;
}
