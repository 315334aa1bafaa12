/**
 * Transactions on PostgreSQL beside a client of `pg`, which runs the statements that ours sends, taken from a log, as named
 * ones: BEGIN, each of them, COMMIT. Every unit is of a tenant of its own, so that each makes the same new records.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { defineCollection, openStorage, type StorageManager, type Transaction } from 'quartermaster';
import { type Sent, sentBy } from '../../test/support/statements.js';
import { compare, type Contender, type Row } from '../measure.js';
import { withDatabase } from '../records/database.js';
import { Orders, valueOf, type Order } from '../records/orders.js';
import { atDistance } from '../distance.js';

const ROUNDS = 7;

const Shipments = defineCollection<Order>({
  name: 'shipments',
  fields: { status: 'string', total: 'number' },
  indexes: [{ keys: ['status', 'total'] }],
});

type Work = (tx: Transaction, i: number) => Promise<void>;

const one: Work = async (tx, i) => {
  await tx.collection(Orders).insert(valueOf(i), { id: 'o' });
};

/** As a service writes it: the id is the library's, and known before the database has answered. */
const oneNew: Work = async (tx, i) => {
  await tx.collection(Shipments).insert(valueOf(i));
};

/** Two tasks, two keys and a message: each with what its store writes beside it. */
const five: Work = async (tx, i) => {
  await tx.tasks.create({ title: `pack ${i}` });
  await tx.tasks.create({ title: `send ${i}` });
  await tx.kv.set('orders', 'last', i);
  await tx.kv.set('orders', 'state', { packed: false, at: i });
  await tx.conversations.addMessage(randomUUID(), { role: 'user', content: `where is order ${i}` });
};

export function benchTransactions(): Promise<Row[]> {
  return withDatabase(async (url) => [
    ...(await bench(url, 'on this machine', 1_000)),
    ...(await atDistance(url, (far) => bench(far, '1 ms away', 100))),
  ]);
}

async function bench(url: string, where: string, count: number): Promise<Row[]> {
  const client = new pg.Client(url);
  await client.connect();
  // The same for all: the disk takes longer than what is compared here, and never the same.
  await client.query(`ALTER DATABASE ${new URL(url).pathname.slice(1)} SET synchronous_commit = off`);
  await client.query('SET synchronous_commit = off');
  // A quota's first write under a new tenant is another one than those that follow.
  const settings = { databases: { main: { url, pool: { max: 1 } } }, kv: { namespaceQuotaBytes: 0 } };
  await using storage = await openStorage(settings, { environment: {} });
  const rows: Row[] = [];
  const add = async (
    what: string,
    goal: string,
    work: Work,
    units: number,
    kept = (_text: string): boolean => true,
  ) => {
    const unit = await logOf(storage, work);
    const sent = unit.statements.filter(({ text }) => kept(text));
    const raw = rawOf(client, sent, unit.tenant, units);
    const options = { rounds: ROUNDS, count: units, before: raw.prepare };
    const counts = `${unit.statements.length} / ${sent.length + 1} statements, ${where}`;
    rows.push(await compare(`${what}: ${counts}`, goal, oursOf(storage, work), raw.run, options));
  };
  await add('one write / BEGIN, the write, COMMIT', '1.3', one, count);
  await add('one write of a new record / BEGIN, the write, COMMIT', '1.3', oneNew, count);
  await add('five writes over three stores / BEGIN, the same statements', '0.95', five, count / 5);
  const isOfBatch = (text: string): boolean => /quartermaster_batch/.test(text);
  await add('five writes / without the savepoints of batches', '', five, count / 5, (text) => !isOfBatch(text));
  await client.end();
  return rows;
}

let tenants = 0;
/** All of one length: it is put in the place of another. */
const nextTenant = (): string => `tenant-${String(tenants++).padStart(8, '0')}`;

function oursOf(storage: StorageManager, work: Work): Contender {
  return async (count) => {
    for (let i = 0; i < count; i++) await storage.tenant(nextTenant()).transaction((tx) => work(tx, i));
  };
}

/** @returns what runs the statements, and what makes their values ahead: a host who writes SQL has them at hand. */
function rawOf(client: pg.Client, statements: readonly Sent[], tenant: string, count: number) {
  let ahead: (readonly unknown[] | undefined)[][] = [];
  const prefix = `u${statements.length}x${tenants}x`;
  return {
    prepare: async (): Promise<void> => {
      ahead = Array.from({ length: count }, () => {
        const next = nextTenant();
        return statements.map(({ values }) => values?.map((value) => renamed(value, tenant, next)));
      });
    },
    run: async (): Promise<void> => {
      for (const unit of ahead) {
        await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
        for (const [n, { text }] of statements.entries()) {
          const values = unit[n];
          await client.query(values === undefined ? text : { name: `${prefix}${n}`, text, values: [...values] });
        }
      }
    },
  };
}

function renamed(value: unknown, from: string, to: string): unknown {
  if (typeof value === 'string') return value.replaceAll(from, to);
  if (Buffer.isBuffer(value) && value.includes(from))
    throw new Error('A tenant is sent in bytes: it cannot be renamed');
  return value;
}

/** What one unit sends, COMMIT the last; BEGIN travels with the first, and is not told. */
async function logOf(storage: StorageManager, work: Work): Promise<{ tenant: string; statements: Sent[] }> {
  // The first use makes tables and runs the function again.
  await storage.tenant(nextTenant()).transaction((tx) => work(tx, 0));
  const tenant = nextTenant();
  const statements = await sentBy(() => storage.tenant(tenant).transaction((tx) => work(tx, 0)));
  return { tenant, statements };
}
