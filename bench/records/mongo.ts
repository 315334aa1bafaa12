/** On MongoDB: what one would call on the driver by hand, on the documents that a collection keeps. */
import { ReadConcern, type MongoClient } from 'mongodb';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { each, idOf, Orders, ROWS, valueOf, versions } from './orders.js';

interface Kept {
  readonly _id: string;
  readonly n: number;
  readonly v: unknown;
}

export async function benchMongo(): Promise<Row[]> {
  const server = process.env['TEST_MONGO_URL'];
  if (server === undefined) throw new Error('TEST_MONGO_URL is not set');
  const url = new URL(server);
  url.pathname = `/bench_${process.pid}`;
  await using storage = await openStorage({ databases: { main: { url: url.href } } }, { environment: {} });
  const orders = storage.collection(Orders);
  await orders.load(ROWS);
  // By hand one asks for what a collection promises: what a majority has, and an answer in time.
  const database = storage.mongo<MongoClient>().db(url.pathname.slice(1), { readConcern: new ReadConcern('majority') });
  const bounds = { maxTimeMS: 30_000 };
  const kept = database.collection<Kept>('qm_orders');
  const key = (id: string): string => `default\u001f${id}`;
  const next = versions();
  const rows = [
    await compare(
      'get by id',
      '0.92',
      each((i) => orders.get(idOf(i))),
      each((i) => kept.findOne({ _id: key(idOf(i)) }, bounds)),
    ),
    await compare(
      'replace if version',
      '0.92',
      each((i) => orders.replace(`o${i}`, valueOf(i), { ifVersion: next(i) })),
      each((i) =>
        kept.findOneAndUpdate(
          { _id: key(`o${i}`), n: next(i) },
          { $set: { v: valueOf(i), u: new Date() }, $inc: { n: 1 } },
          { projection: { n: 1, c: 1 }, returnDocument: 'after', ...bounds },
        ),
      ),
    ),
  ];
  await database.dropDatabase();
  return rows;
}
