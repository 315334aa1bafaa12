/** Mastra's store on pgvector. Its filters are written like ours. */
import type { Metadata } from 'quartermaster';
import { batches, loadPeer, type OpenPeer, type Peer, type PeerTable } from './peer.js';

interface Store {
  createIndex(options: { indexName: string; dimension: number; metric: string; buildIndex: boolean }): Promise<void>;
  buildIndex(options: { indexName: string; metric: string; indexConfig: object }): Promise<void>;
  upsert(options: {
    indexName: string;
    ids: string[];
    vectors: number[][];
    metadata: (Metadata | undefined)[];
  }): Promise<unknown>;
  query(options: {
    indexName: string;
    queryVector: number[];
    topK: number;
    filter: object;
  }): Promise<{ readonly id: string }[]>;
  disconnect(): Promise<void>;
}

interface Library {
  readonly PgVector: new (config: { connectionString: string }) => Store;
}

export function loadMastra(): OpenPeer | undefined {
  const library = loadPeer('@mastra/pg') as Library | undefined;
  return library && ((table) => openTable(library, table));
}

async function openTable({ PgVector }: Library, { url, table: indexName, dimension }: PeerTable): Promise<Peer> {
  const store = new PgVector({ connectionString: url });
  const metric = 'cosine';
  await store.createIndex({ indexName, dimension, metric, buildIndex: false });
  return {
    async write(records) {
      for (const batch of batches(records))
        await store.upsert({
          indexName,
          ids: batch.map(({ id }) => id),
          vectors: batch.map(({ vector }) => vector),
          metadata: batch.map(({ metadata }) => metadata),
        });
    },
    index: () =>
      store.buildIndex({
        indexName,
        metric,
        indexConfig: { type: 'hnsw', hnsw: { m: 16, efConstruction: 64 } },
      }),
    async search(queryVector, filter) {
      const hits = await store.query({ indexName, queryVector, topK: 10, filter });
      return hits.map(({ id }) => id);
    },
    close: () => store.disconnect(),
  };
}
