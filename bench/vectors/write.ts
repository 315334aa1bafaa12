/** Writing 1,536 dimensions without an index: `upsert` beside a statement by hand, `load` beside COPY by hand. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { withDatabase } from '../records/database.js';
import { arrayBytes, copyBytes, tableOf } from './by-hand.js';
import { DIMENSION, records } from './synthetic.js';

const BATCH = 500;
const BULK = 5_000;
const COLUMNS = 'tenant, namespace, id, embedding, metadata';

export function benchWrites(): Promise<Row[]> {
  return withDatabase(async (url) => {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const vectors = storage.vectors();
    await vectors.createCollection({ name: 'bench', dimension: DIMENSION, index: { kind: 'none' } });
    const client = new pg.Client(url);
    await client.connect();
    const table = await tableOf(client, 'bench');
    await client.query(`CREATE TABLE by_hand (LIKE ${table} INCLUDING ALL)`);
    // LIKE leaves it out, and metadata would then stand out of line.
    await client.query('ALTER TABLE by_hand SET (toast_tuple_target = 8160)');
    const { rows } = await client.query<{ oid: number }>("SELECT 'vector'::regtype::oid AS oid");
    const { oid } = rows[0]!;
    const bulk = records(BULK);
    // A round of one would be shorter than the time between two garbage collections.
    const batches = Array.from({ length: BULK / BATCH }, (_, i) => bulk.slice(i * BATCH, (i + 1) * BATCH));
    const before = async (): Promise<void> => void (await client.query(`TRUNCATE by_hand, ${table}`));
    const upsert =
      `INSERT INTO by_hand (${COLUMNS}) SELECT 'default', '', u.id, u.embedding, u.metadata::jsonb ` +
      'FROM unnest($1::text[], $2::vector[], $3::text[]) AS u(id, embedding, metadata) ' +
      'ON CONFLICT (tenant, namespace, id) DO UPDATE SET embedding = excluded.embedding, metadata = excluded.metadata';
    const compared = [
      await compare(
        `upsert of ${BATCH} vectors, each`,
        '0.9',
        async () => {
          for (const batch of batches) await vectors.upsert('bench', batch);
        },
        async () => {
          for (const batch of batches)
            await client.query(upsert, [
              batch.map(({ id }) => id),
              arrayBytes(
                batch.map(({ vector }) => vector),
                oid,
              ),
              batch.map(({ metadata }) => JSON.stringify(metadata)),
            ]);
        },
        { rounds: 9, count: BULK, before },
      ),
      await compare(
        `load of ${BULK.toLocaleString('en')} vectors, each`,
        '0.9',
        async () => void (await vectors.load('bench', bulk)),
        () =>
          pipeline(
            Readable.from(copyBytes(bulk)),
            client.query(copyFrom(`COPY by_hand (${COLUMNS}) FROM STDIN (FORMAT binary)`)),
          ),
        { rounds: 7, count: BULK, before },
      ),
    ];
    await client.end();
    return compared;
  });
}
