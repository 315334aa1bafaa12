/** On PostgreSQL: `load` beside COPY by hand (pg-copy-streams) of the same rows into a table of the same making. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { withDatabase } from './database.js';
import { now, Orders, valueOf } from './orders.js';

const RECORDS = 10_000;
/** Row by row the stream itself would be what is measured. */
const CHUNK = 65_536;

function* records(count: number) {
  for (let i = 0; i < count; i++) yield { id: `o${i}`, value: valueOf(i) };
}

function* chunks(count: number): Generator<string> {
  const time = now();
  let chunk = '';
  for (const { id, value } of records(count)) {
    const json = JSON.stringify(value).replaceAll('\\', '\\\\');
    chunk += `default\t${id}\t1\t${time}\t${time}\tinfinity\t${json}\n`;
    if (chunk.length < CHUNK) continue;
    yield chunk;
    chunk = '';
  }
  yield chunk;
}

export function benchLoading(): Promise<Row[]> {
  return withDatabase(async (url) => {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const orders = storage.collection(Orders);
    await orders.count();
    const client = new pg.Client(url);
    await client.connect();
    await client.query('CREATE TABLE copied (LIKE quartermaster.orders INCLUDING ALL)');
    const copy = 'COPY copied (tenant, id, version, created_at, updated_at, expires_at, value) FROM STDIN';
    const row = await compare(
      `load of ${RECORDS.toLocaleString('en')} records, each`,
      '0.95',
      async (count) => void (await orders.load(records(count))),
      (count) => pipeline(Readable.from(chunks(count)), client.query(copyFrom(copy))),
      {
        rounds: 7,
        count: RECORDS,
        before: async () => void (await client.query('TRUNCATE copied, quartermaster.orders')),
      },
    );
    await client.end();
    return [row];
  });
}
