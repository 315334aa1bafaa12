/** Who receives the messages: a table or a file of its own, over nothing of the library's, by the idempotency key. */
import { open, readFile } from 'node:fs/promises';
import { MongoClient } from 'mongodb';
import pg from 'pg';

export interface Receipt {
  readonly key: string;
  /** Its place among the first deliveries. */
  readonly place: number;
  /** How often it was delivered. */
  readonly times: number;
}

export interface Receiver {
  receive(key: string): Promise<void>;
  received(): Promise<Receipt[]>;
  close(): Promise<void>;
}

/** @param url of a PostgreSQL or MongoDB database, or a file. */
export async function openReceiver(url: string): Promise<Receiver> {
  if (url.startsWith('postgres')) return openPostgres(url);
  if (url.startsWith('mongodb')) return openMongo(url);
  return openFile(url);
}

const TABLE = 'fault_receipts';

async function openPostgres(url: string): Promise<Receiver> {
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  await pool.query(
    `CREATE TABLE IF NOT EXISTS ${TABLE} (key text PRIMARY KEY, place bigserial, times int NOT NULL DEFAULT 1)`,
  );
  return {
    async receive(key) {
      const text = `INSERT INTO ${TABLE} (key) VALUES ($1) ON CONFLICT (key) DO UPDATE SET times = ${TABLE}.times + 1`;
      await pool.query(text, [key]);
    },
    async received() {
      const { rows } = await pool.query<Receipt>(`SELECT key, place::float8 AS place, times FROM ${TABLE}`);
      return rows;
    },
    close: () => pool.end(),
  };
}

async function openMongo(url: string): Promise<Receiver> {
  const client = await new MongoClient(url, { maxPoolSize: 2 }).connect();
  const receipts = client.db().collection<{ _id: string; place: number; times: number }>(TABLE);
  const counters = client.db().collection<{ _id: string; last: number }>(`${TABLE}_places`);
  return {
    async receive(key) {
      const found = await receipts.updateOne({ _id: key }, { $inc: { times: 1 } });
      if (found.matchedCount > 0) return;
      const counted = await counters.findOneAndUpdate(
        { _id: 'last' },
        { $inc: { last: 1 } },
        { upsert: true, returnDocument: 'after' },
      );
      await receipts.updateOne(
        { _id: key },
        { $inc: { times: 1 }, $setOnInsert: { place: counted!.last } },
        { upsert: true },
      );
    },
    async received() {
      const found = await receipts.find().toArray();
      return found.map(({ _id, place, times }) => ({ key: _id, place, times }));
    },
    close: () => client.close(),
  };
}

/** A line a delivery: it is written whole, whoever is killed, and by one after another. */
async function openFile(path: string): Promise<Receiver> {
  const file = await open(path, 'a');
  return {
    async receive(key) {
      await file.appendFile(`${key}\n`);
    },
    async received() {
      const times = new Map<string, number>();
      for (const key of (await readFile(path, 'utf8')).split('\n').slice(0, -1))
        times.set(key, (times.get(key) ?? 0) + 1);
      return [...times].map(([key, count], place) => ({ key, place, times: count }));
    },
    close: () => file.close(),
  };
}
