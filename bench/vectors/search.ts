/** Searching 20,000 embeddings: beside the same statement with the same settings on `pg`. */
import pg from 'pg';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { withDatabase } from '../records/database.js';
import { atOnce, each } from '../records/orders.js';
import { tableOf, vectorBytes } from './by-hand.js';
import { fill, NAME, readData } from './wordnet.js';

const LANES = 8;
const BEGIN = 'BEGIN; SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = 100';
const searchIn = (table: string): string =>
  `WITH c AS MATERIALIZED (SELECT id, metadata, text, embedding <=> $1::vector AS distance FROM ${table} ` +
  "WHERE tenant = $2 AND namespace = '' ORDER BY embedding <=> $1::vector LIMIT 10) " +
  'SELECT id, metadata, text, distance FROM c ORDER BY distance, id';

export function benchSearch(): Promise<Row[]> {
  return withDatabase(async (url) => {
    const data = await readData();
    await using storage = await openStorage(
      { databases: { main: { url, pool: { max: LANES } } } },
      { environment: {} },
    );
    const vectors = storage.vectors();
    await fill(vectors, data);
    const pool = new pg.Pool({ connectionString: url, max: LANES });
    const search = searchIn(await tableOf(pool, NAME));
    const queryOf = (i: number): Float32Array => data.queries[i % data.queries.length]!;
    const ours = (i: number): Promise<unknown> => vectors.search(NAME, { vector: queryOf(i) });
    const raw = async (i: number): Promise<unknown> => {
      const client = await pool.connect();
      try {
        await client.query(BEGIN);
        const { rows } = await client.query<object>(search, [vectorBytes(queryOf(i)), 'default']);
        await client.query('COMMIT');
        return rows;
      } finally {
        client.release();
      }
    };
    const rows = [
      await compare('search, one at a time', '0.95', each(ours), each(raw), { rounds: 7, count: 200 }),
      await compare(`search, ${LANES} at once`, '0.95', atOnce(LANES, ours), atOnce(LANES, raw), {
        rounds: 7,
        count: 400,
      }),
    ];
    await pool.end();
    return rows;
  });
}
