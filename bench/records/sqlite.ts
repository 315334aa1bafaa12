/** On SQLite (better-sqlite3): the statements that a collection runs, prepared on the same handle; the raw side parses the values. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { each, idOf, Orders, PAGE, PAGE_FILTER, ROWS, valueOf } from './orders.js';

const NEVER = 8_640_000_000_000_000;

/** The statements that are prepared while `work` runs, the last one last. */
async function preparedBy(work: () => Promise<unknown>): Promise<string> {
  const { prototype } = Database as unknown as { prototype: { prepare: (text: string) => Database.Statement } };
  const original = prototype.prepare;
  let last = '';
  prototype.prepare = function (this: Database.Database, text: string) {
    last = text;
    return original.call(this, text);
  };
  try {
    await work();
    return last;
  } finally {
    prototype.prepare = original;
  }
}

export async function benchSqlite(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    return await bench(`sqlite:${join(folder, 'file.db')}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function bench(url: string): Promise<Row[]> {
  const main = { url, engine: 'better-sqlite3' };
  await using storage = await openStorage({ databases: { main } }, { environment: {} });
  const orders = storage.collection(Orders);
  const client = storage.sql<Database.Database>();
  // Before anything else is done: each statement is prepared once.
  await orders.count();
  const put = client.prepare(await preparedBy(() => orders.save(valueOf(1), { id: 'o1' })));
  const get = client.prepare(await preparedBy(() => orders.get('o1')));
  const page = client.prepare(await preparedBy(() => orders.query(PAGE_FILTER, PAGE)));
  await orders.load(ROWS);
  client.exec('ANALYZE');
  const parsed = (rows: unknown[]): unknown =>
    rows.map((row) => JSON.parse((row as { value: string }).value) as unknown);
  return [
    await compare(
      'get by id',
      '0.85',
      each((i) => orders.get(idOf(i))),
      each(async (i) => parsed(get.all('default', idOf(i), Date.now()))),
      { count: 2_000 },
    ),
    await compare(
      'put',
      '0.85',
      each((i) => orders.save(valueOf(i), { id: idOf(i) })),
      each(async (i) => put.all('default', idOf(i), Date.now(), Date.now(), NEVER, JSON.stringify(valueOf(i)))),
      { count: 1_000 },
    ),
    await compare(
      'page of 20 by a declared index',
      '',
      each(() => orders.query(PAGE_FILTER, PAGE)),
      each(async () => parsed(page.all('default', Date.now(), 's7', 21))),
      { count: 500 },
    ),
  ];
}
