/** Who receives the messages: a table of its own, over a connection that is none of the library's, with the idempotency key as its key. */
import Database from 'better-sqlite3';
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

/** @param url of a PostgreSQL or MongoDB database, or a file of SQLite. */
export async function openReceiver(url: string): Promise<Receiver> {
  if (url.startsWith('postgres')) return openPostgres(url);
  if (url.startsWith('mongodb')) return openMongo(url);
  return openSqlite(url);
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

async function openSqlite(file: string): Promise<Receiver> {
  const database = new Database(file, { timeout: 20_000 });
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.exec(
    `CREATE TABLE IF NOT EXISTS ${TABLE} (place INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, times INT NOT NULL DEFAULT 1)`,
  );
  const write = database.prepare(
    `INSERT INTO ${TABLE} (key) VALUES (?) ON CONFLICT (key) DO UPDATE SET times = times + 1`,
  );
  return {
    async receive(key) {
      write.run(key);
    },
    async received() {
      return database.prepare(`SELECT key, place, times FROM ${TABLE}`).all() as Receipt[];
    },
    async close() {
      database.close();
    },
  };
}
