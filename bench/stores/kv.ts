/** `storage.kv` on PostgreSQL, without quotas and with one, beside its statements without quotas as named ones of `pg`. */
import pg from 'pg';
import { openStorage, type KeyValueStore } from 'quartermaster';
import { idOf } from '../../src/adapters/kv/entry.js';
import { atDistance } from '../distance.js';
import { compare, type Row } from '../measure.js';
import { withDatabase, withoutDisk } from '../records/database.js';
import { each, now } from '../records/orders.js';

const KEYS = 2_000;
const COUNTERS = 50;
const NAMESPACE = 'bench';
const ROUNDS = 11;
const NO_QUOTAS = { namespaceQuotaBytes: 0 };
const A_QUOTA = { namespaceQuotaBytes: 1_000_000_000 };
/** Made once: a host who writes SQL has its keys at hand. */
const IDS = Array.from({ length: KEYS }, (_, i) => idOf({ namespace: NAMESPACE, key: `k${i}` }));
const COUNTER_IDS = Array.from({ length: COUNTERS }, (_, i) => idOf({ namespace: NAMESPACE, key: `n${i}` }));

/** As long as those that the store makes. */
const MARK = 'abcdefghijkl';

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

export function benchKv(): Promise<Row[]> {
  return withDatabase(async (url) => {
    await withoutDisk(url);
    return [
      ...(await bench(url, 'on this machine', 500)),
      ...(await atDistance(url, (far) => bench(far, '1 ms away', 100))),
    ];
  });
}

async function bench(url: string, where: string, count: number): Promise<Row[]> {
  const settings = { databases: { main: { url, pool: { max: 4 } } } };
  await using plain = await openStorage({ ...settings, kv: NO_QUOTAS }, { environment: {} });
  await using counted = await openStorage({ ...settings, kv: A_QUOTA }, { environment: {} });
  const client = new pg.Client(url);
  await client.connect();
  for (let i = 0; i < KEYS; i++) await plain.kv.set(NAMESPACE, `k${i}`, valueOf(i));
  for (let i = 0; i < COUNTERS; i++) await plain.kv.increment(NAMESPACE, `n${i}`);
  const statements = {
    get: await lastStatement(() => plain.kv.get(NAMESPACE, 'k0')),
    set: await lastStatement(() => plain.kv.set(NAMESPACE, 'k0', valueOf(0))),
    increment: await lastStatement(() => plain.kv.increment(NAMESPACE, 'n0')),
  };
  await client.query('ANALYZE');
  const raw = {
    get: rawOf(client, 'get', statements.get, (i) => ({ id: IDS[i % KEYS]! })),
    set: rawOf(client, 'set', statements.set, (i) => ({ id: IDS[(i * 7) % KEYS]!, json: recordOf(i) })),
    increment: rawOf(client, 'increment', statements.increment, (i) => ({ id: COUNTER_IDS[i % COUNTERS]! })),
  };
  const rows: Row[] = [];
  for (const [mode, goal, { kv }] of [
    ['no quota', '0.9', plain],
    ['a quota of the namespace', '', counted],
  ] as const)
    for (const [name, operation] of Object.entries(operationsOf(kv)))
      rows.push(
        await compare(`${name}, ${mode}, ${where}`, goal, each(operation), each(raw[name as keyof typeof raw]), {
          rounds: ROUNDS,
          count,
        }),
      );
  await client.end();
  return rows;
}

/** Sizes differ from one write to the next, as in a service: most writes change the counter of a quota. */
function operationsOf(kv: KeyValueStore): Readonly<Record<string, (i: number) => Promise<unknown>>> {
  return {
    get: (i) => kv.get(NAMESPACE, `k${i % KEYS}`),
    set: (i) => kv.set(NAMESPACE, `k${(i * 7) % KEYS}`, valueOf(i)),
    increment: (i) => kv.increment(NAMESPACE, `n${i % COUNTERS}`),
  };
}

function valueOf(i: number): { readonly note: string; readonly at: number } {
  return { note: 'x'.repeat(80 + (i % 40)), at: i };
}

function recordOf(i: number): string {
  const value = valueOf(i);
  const sizeBytes = JSON.stringify(value).length;
  return JSON.stringify({ namespace: NAMESPACE, key: `k${(i * 7) % KEYS}`, value, sizeBytes, mark: MARK });
}

/** The statement with the values of its first run, but the id, the time and the record. */
function rawOf(
  client: pg.Client,
  name: string,
  { text, values }: Statement,
  valuesOf: (i: number) => { readonly id: string; readonly json?: string },
): (i: number) => Promise<unknown> {
  const first = valuesOf(0).id;
  const isTime = values.map((value) => typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value));
  return (i) => {
    const { id, json } = valuesOf(i);
    const own = values.map((value, n) => (value === first ? id : isTime[n] === true ? now() : value));
    if (json !== undefined) own[own.length - 1] = json;
    return client.query({ name, text, values: own });
  };
}

async function lastStatement(work: () => Promise<unknown>): Promise<Statement> {
  const prototype = pg.Client.prototype as unknown as { query: (this: pg.Client, ...given: unknown[]) => unknown };
  const { query } = prototype;
  let last: Statement | undefined;
  prototype.query = function (...given) {
    const [statement] = given as [Partial<Statement>];
    if (statement.text !== undefined) last = { text: statement.text, values: [...(statement.values ?? [])] };
    return query.apply(this, given);
  };
  try {
    await work();
  } finally {
    prototype.query = query;
  }
  return last!;
}
