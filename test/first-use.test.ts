/** Fifty processes that meet at an empty database: no error, and one schema. */
import { afterEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineCollection, openStorage } from '../src/index.js';
import { serverUrl } from './support/postgres/fixture.js';
import { giveWay } from './support/run.js';
import { createTestDatabase } from '../src/pools/postgres/test-database.js';

const CHILD = fileURLToPath(new URL('./children/first-user.js', import.meta.url));
const PROCESSES = 50;
const Orders = defineCollection({ name: 'orders' });
const Bills = defineCollection({ name: 'bills' });

let clean: () => Promise<void>;
afterEach(() => clean());

/** @returns what the processes said on their standard error. */
async function meet(url: string): Promise<string[]> {
  const children = Array.from({ length: PROCESSES }, () => {
    const child = spawn(process.execPath, ['--no-warnings', CHILD, url], { stdio: ['pipe', 'pipe', 'pipe'] });
    giveWay(child);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const exit = once(child, 'exit').then(([code]) => (code === 0 ? '' : `${String(code)}: ${said}`));
    return { child, exit, open: Promise.race([once(child.stdout, 'data'), exit]) };
  });
  try {
    await Promise.all(children.map(({ open }) => open));
    for (const { child } of children) child.stdin.end('go\n');
    return await Promise.all(children.map(({ exit }) => exit));
  } finally {
    for (const { child } of children) child.kill('SIGKILL');
  }
}

interface Client {
  query?(text: string): Promise<{ rows: { name: string }[] }>;
  prepare?(text: string): { all(): { name: string }[] };
}

/** How many records there are, and what was made: the expiry's index of each, the words, the constraint, the indexes. */
async function found(url: string, catalogue: string): Promise<unknown> {
  await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
  const sql = storage.sql<Client>();
  const rows = sql.prepare?.(catalogue).all() ?? (await sql.query!(catalogue)).rows;
  const made = rows.map(({ name }) => name.replace(/^quartermaster_|_[0-9a-f]{8}$/g, '')).sort();
  return { orders: await storage.collection(Orders).count(), bills: await storage.collection(Bills).count(), made };
}

const FOUND = {
  orders: PROCESSES,
  bills: PROCESSES,
  made: ['bills_e', 'bills_i', 'orders_e', 'orders_i', 'orders_u', 'orders_w'],
};

const NONE = Array.from({ length: PROCESSES }, () => '');
const name = `${PROCESSES} processes at once on`;
(serverUrl === '' ? test.skip : test)(
  `${name} PostgreSQL`,
  async () => {
    const { url, drop } = await createTestDatabase(serverUrl);
    clean = drop;
    expect(await meet(url)).toEqual(NONE);
    const catalogue =
      "SELECT indexname AS name FROM pg_indexes WHERE schemaname = 'quartermaster' AND tablename IN ('orders', 'bills') AND indexname !~ '_pkey$'";
    expect(await found(url, catalogue)).toEqual(FOUND);
  },
  240_000,
);

(serverUrl === '' ? test.skip : test)(
  `${name} tables that another declaration has made and filled`,
  async () => {
    const { url, drop } = await createTestDatabase(serverUrl);
    clean = drop;
    const Older = defineCollection<{ note: string }>({ name: 'orders' });
    {
      await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
      await storage.collection(Older).load(Array.from({ length: 5_000 }, () => ({ value: { note: 'red fox' } })));
    }
    expect(await meet(url)).toEqual(NONE);
    const catalogue =
      "SELECT relname AS name FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'quartermaster.orders'::regclass AND indisvalid AND NOT indisprimary";
    const made = FOUND.made.filter((part) => part.startsWith('orders'));
    expect(await found(url, catalogue)).toEqual({ orders: PROCESSES + 5_000, bills: PROCESSES, made });
  },
  240_000,
);

test(`${name} a file of SQLite`, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'quartermaster-first-'));
  clean = () => rm(directory, { recursive: true, force: true });
  const url = `sqlite:${join(directory, 'data')}`;
  expect(await meet(url)).toEqual(NONE);
  const catalogue =
    "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name IN ('quartermaster_orders', 'quartermaster_bills') AND sql IS NOT NULL";
  // Words are looked for in the tenant's rows.
  expect(await found(url, catalogue)).toEqual({ ...FOUND, made: FOUND.made.filter((part) => part !== 'orders_w') });
}, 240_000);
