/** Fifty processes that meet at an empty database: no error, and one schema. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { defineCollection, openStorage } from '../src/index.js';
import { serverUrl } from './support/postgres/fixture.js';
import { giveWay } from './support/run.js';
import { createTestDatabase } from '../src/pools/postgres/test-database.js';

const CHILD = fileURLToPath(new URL('./children/first-user.js', import.meta.url));
const PROCESSES = 50;
const Orders = defineCollection({ name: 'orders' });
const Bills = defineCollection({ name: 'bills' });

let users: User[];
let clean: () => Promise<void>;
beforeAll(() => {
  users = Array.from({ length: PROCESSES }, () => new User());
});
afterEach(() => clean());
afterAll(() => users.forEach((user) => user.kill()));

/** A process that uses one database after the other. */
class User {
  private readonly child = spawn(process.execPath, ['--no-warnings', CHILD], { stdio: ['pipe', 'pipe', 'inherit'] });
  private readonly lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  private readonly ended = once(this.child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);

  constructor() {
    giveWay(this.child);
    // One that has died takes no line; its answer tells.
    this.child.stdin.on('error', () => undefined);
  }

  /** @returns the answer to `line`: a process that has ended gives none. */
  async tell(line: string): Promise<unknown> {
    this.child.stdin.write(`${line}\n`);
    const answer = await this.lines.next();
    return answer.done === true ? this.ended : (JSON.parse(answer.value) as unknown);
  }

  /** @returns its exit code, when it has ended for want of a line */
  end(): Promise<number | string> {
    this.child.stdin.end();
    return this.ended;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}

/** @returns what went wrong in each of them. */
async function meet(url: string): Promise<unknown[]> {
  expect(await Promise.all(users.map((user) => user.tell(url)))).toEqual(users.map(() => 'open'));
  return Promise.all(users.map((user) => user.tell('go')));
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

test(`${PROCESSES} processes end by themselves when there is no more to do`, async () => {
  clean = () => Promise.resolve();
  expect(await Promise.all(users.map((user) => user.end()))).toEqual(users.map(() => 0));
});
