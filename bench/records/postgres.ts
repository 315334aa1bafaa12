/** On PostgreSQL: the statements that a collection sends, as named statements on a client of `pg`. */
import pg from 'pg';
import { openStorage } from 'quartermaster';
import { statementsOf } from '../../test/support/statements.js';
import { compare, type Row } from '../measure.js';
import { atOnce, each, idOf, now, Orders, PAGE, PAGE_FILTER, ROWS, valueOf, versions } from './orders.js';

/** The text that an operation sends last. */
async function textOf(work: () => Promise<unknown>): Promise<string> {
  return (await statementsOf(work)).at(-1) ?? '';
}

export async function benchPostgres(): Promise<Row[]> {
  const server = process.env['TEST_POSTGRES_URL'];
  if (server === undefined) throw new Error('TEST_POSTGRES_URL is not set');
  const admin = new pg.Client(server);
  await admin.connect();
  const name = `bench_${process.pid}`;
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  try {
    return await bench(url.href);
  } finally {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.end();
  }
}

async function bench(url: string): Promise<Row[]> {
  await using storage = await openStorage({ databases: { main: { url, pool: { max: 8 } } } }, { environment: {} });
  const orders = storage.collection(Orders);
  await orders.load(ROWS);
  const client = new pg.Client(url);
  await client.connect();
  const pool = new pg.Pool({ connectionString: url, max: 8 });
  pool.on('error', () => undefined);
  const texts = {
    insert: await textOf(() => orders.insert(valueOf(0), { id: 'first' })),
    get: await textOf(() => orders.get('o1')),
    replace: await textOf(() => orders.replace('o1', valueOf(1), { ifVersion: 1 })),
    page: await textOf(() => orders.query(PAGE_FILTER, PAGE)),
  };
  await client.query('ANALYZE');
  const raw = (name: keyof typeof texts, values: unknown[]): Promise<unknown> =>
    client.query({ name, text: texts[name], values });
  let made = 0;
  const next = versions([[1, 2]]);
  const rows = [
    await compare(
      'insert',
      '0.95',
      each((i) => orders.insert(valueOf(i), { id: `n${made++}` })),
      each((i) => raw('insert', ['default', `n${made++}`, now(), now(), 'infinity', JSON.stringify(valueOf(i))])),
    ),
    await compare(
      'get by id',
      '0.95',
      each((i) => orders.get(idOf(i))),
      each((i) => raw('get', ['default', idOf(i), now()])),
    ),
    await compare(
      'replace if version',
      '0.95',
      each((i) => orders.replace(`o${i}`, valueOf(i), { ifVersion: next(i) })),
      each((i) => raw('replace', ['default', `o${i}`, now(), 'infinity', JSON.stringify(valueOf(i)), next(i)])),
    ),
    await compare(
      'page of 20 by a declared index',
      '0.92',
      each(() => orders.query(PAGE_FILTER, PAGE)),
      each(() => raw('page', ['default', now(), 's7', 21])),
    ),
    await compare(
      'get by id, 32 at once / pool.query unnamed',
      '1.3',
      atOnce(32, (i) => orders.get(idOf(i))),
      atOnce(32, (i) => pool.query(texts.get, ['default', idOf(i), now()])),
      { count: 1_000 },
    ),
  ];
  await client.end();
  await pool.end();
  return rows;
}
