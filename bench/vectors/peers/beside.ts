/** Our vectors on pgvector beside a peer's on the same server, each in its own table of the same records. */
import pg from 'pg';
import { openStorage, type Filter, type Metadata, type VectorRecord, type VectorStore } from 'quartermaster';
import { compare, print, type Row } from '../../measure.js';
import { withDatabase } from '../../records/database.js';
import { each } from '../../records/orders.js';
import { tableOf } from '../by-hand.js';
import { measureRecall, printRecall, searchOf } from '../recall.js';
import { DIMENSION, records } from '../synthetic.js';
import { DIMENSION as EMBEDDED, fill, NAME, readData, type Data } from '../wordnet.js';
import type { OpenPeer, Peer, PeerRecord } from './peer.js';

const BATCH = 500;
const FILTER = 'domain = noun.food';

export function benchBeside(name: string, open: OpenPeer | undefined): Promise<void> {
  if (open === undefined) return Promise.resolve();
  return withDatabase(async (url) => {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const vectors = storage.vectors();
    const admin = new pg.Client(url);
    await admin.connect();
    await admin.query('CREATE EXTENSION IF NOT EXISTS vector');
    const written = await open({ url, table: 'peer_written', dimension: DIMENSION });
    const searched = await open({ url, table: 'peer_searched', dimension: EMBEDDED });
    const rows = [await besideWrites(vectors, written, admin)];
    const data = await readData();
    await fill(vectors, data);
    await searched.write(data.records.map(plain));
    await searched.index();
    await admin.query('ANALYZE');
    rows.push(...(await besideSearches(vectors, searched, data)));
    const queries = data.queries.map((query) => Array.from(query));
    printRecall('ours', await measureRecall(data, searchOf(vectors, data)));
    printRecall(name, await measureRecall(data, (i, filter) => searched.search(queries[i]!, filter)));
    await written.close();
    await searched.close();
    await admin.end();
    print('us', rows, name);
  });
}

async function besideWrites(vectors: VectorStore, peer: Peer, admin: pg.Client): Promise<Row> {
  await vectors.createCollection({ name: 'written', dimension: DIMENSION, index: { kind: 'none' } });
  const table = await tableOf(admin, 'written');
  const batch = records(BATCH);
  const theirs = batch.map(plain);
  return compare(
    `upsert of ${BATCH} vectors, each`,
    '',
    async () => void (await vectors.upsert('written', batch)),
    async () => void (await peer.write(theirs)),
    {
      rounds: 5,
      count: BATCH,
      before: async () => void (await admin.query(`TRUNCATE peer_written, ${table}`)),
    },
  );
}

async function besideSearches(vectors: VectorStore, peer: Peer, { queries, answers }: Data): Promise<Row[]> {
  const lists = queries.map((query) => Array.from(query));
  const row = (what: string, filter: Filter<Metadata>): Promise<Row> =>
    compare(
      what,
      '',
      each((i) => vectors.search(NAME, { vector: queries[i % queries.length]!, filter })),
      each((i) => peer.search(lists[i % lists.length]!, filter)),
      { rounds: 5, count: 100 },
    );
  return [await row('search', {}), await row(`search, ${FILTER}`, answers[FILTER]!.filter)];
}

function plain({ id, vector, metadata = {} }: VectorRecord & { readonly vector: Float32Array }): PeerRecord {
  return { id, vector: Array.from(vector), metadata };
}
