/** On PostgreSQL: the statements that a collection sends, as named statements on a client of `pg`. */
import pg from 'pg';
import { openStorage } from 'quartermaster';
import { textOf } from '../../test/support/statements.js';
import { compare, type Row } from '../measure.js';
import { withDatabase } from './database.js';
import { each, idOf, now, Orders, PAGE, PAGE_FILTER, ROWS, valueOf, versions } from './orders.js';

export function benchPostgres(): Promise<Row[]> {
  return withDatabase(bench);
}

async function bench(url: string): Promise<Row[]> {
  await using storage = await openStorage({ databases: { main: { url, pool: { max: 8 } } } }, { environment: {} });
  const orders = storage.collection(Orders);
  await orders.load(ROWS);
  const client = new pg.Client(url);
  await client.connect();
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
      each((i) => raw('replace', ['default', `o${i}`, now(), 'infinity', JSON.stringify(valueOf(i)), next(i), null])),
    ),
    await compare(
      'page of 20 by a declared index',
      '0.92',
      each(() => orders.query(PAGE_FILTER, PAGE)),
      each(() => raw('page', ['default', now(), 's7', 21])),
    ),
  ];
  await client.end();
  return rows;
}
