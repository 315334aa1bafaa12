/**
 * Searches of a Chroma server beside its own client: on our collection with the filter that ours is compiled to, and on a
 * collection as the client alone would make it, with the filter as one would write it.
 */
import { ChromaClient, type Collection, type IncludeEnum, type Metadata, type Where } from 'chromadb';
import { randomUUID } from 'node:crypto';
import { openStorage, type VectorStore } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { each } from '../records/orders.js';
import { fill, NAME, readData, type Data } from './wordnet.js';

const FILTER = 'domain = noun.food';
const NATIVE: Where = { domain: 'noun.food' };
/** What ours is compiled to: every record lists its fields and their types. */
const COMPILED: Where = { $and: [{ 'qm.types': { $contains: 's:domain' } }, { domain: { $eq: 'noun.food' } }] };
const BATCH = 500;
const ROUNDS = { rounds: 5, count: 40 };

export async function benchChroma(): Promise<Row[]> {
  const url = process.env['TEST_CHROMA_URL'];
  if (url === undefined) throw new Error('TEST_CHROMA_URL is not set');
  const databases = `${url}/api/v2/tenants/default_tenant/databases`;
  const database = `bench_${randomUUID()}`;
  await send('POST', databases, { name: database });
  try {
    const data = await readData();
    await using storage = await openStorage(
      { databases: { main: 'memory:' }, vectors: { chroma: { url, serverDatabase: database } } },
      { environment: {} },
    );
    const vectors = storage.vectors('chroma');
    await fill(vectors, data);
    const { hostname: host, port, protocol } = new URL(url);
    const client = new ChromaClient({ host, port: Number(port), ssl: protocol === 'https:', database });
    const collections = (await send('GET', `${databases}/${database}/collections`)) as { id: string; name: string }[];
    const ours = client.collection(collections.find(({ name }) => !name.endsWith('.root'))!.id);
    const native = await fillNative(client, data);
    return await compareSearches(vectors, ours, native, data);
  } finally {
    await send('DELETE', `${databases}/${database}`);
  }
}

async function fillNative(client: ChromaClient, { records }: Data): Promise<Collection> {
  const collection = await client.createCollection({
    name: 'native',
    configuration: { hnsw: { space: 'cosine' } },
    embeddingFunction: null,
  });
  for (let i = 0; i < records.length; i += BATCH) {
    const batch = records.slice(i, i + BATCH);
    await collection.upsert({
      ids: batch.map(({ id }) => id),
      embeddings: batch.map(({ vector }) => Array.from(vector)),
      metadatas: batch.map(({ metadata }) => metadata as Metadata),
      documents: batch.map(() => ''),
    });
  }
  return collection;
}

async function compareSearches(
  vectors: VectorStore,
  ours: Pick<Collection, 'query'>,
  native: Pick<Collection, 'query'>,
  { queries, answers }: Data,
): Promise<Row[]> {
  const lists = queries.map((query) => Array.from(query));
  const theirs = (collection: Pick<Collection, 'query'>, where?: Where) =>
    each((i) =>
      collection.query({
        queryEmbeddings: [lists[i % lists.length]!],
        nResults: 10,
        include: ['metadatas', 'documents', 'distances'] satisfies `${IncludeEnum}`[],
        ...(where === undefined ? {} : { where }),
      }),
    );
  const { filter } = answers[FILTER]!;
  const search = each((i) => vectors.search(NAME, { vector: queries[i % queries.length]! }));
  const filtered = each((i) => vectors.search(NAME, { vector: queries[i % queries.length]!, filter }));
  return [
    await compare('search', '0.9', search, theirs(ours), ROUNDS),
    await compare(`search, ${FILTER}`, '0.9', filtered, theirs(ours, COMPILED), ROUNDS),
    await compare(`search, ${FILTER}, its own records and filter`, '', filtered, theirs(native, NATIVE), ROUNDS),
  ];
}

async function send(method: string, url: string, body?: object): Promise<unknown> {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status}`);
  return response.json();
}
