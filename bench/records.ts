/**
 * Records through a `Collection` beside the very statements that it sends, on PGlite itself: `npm run bench:records`. Both
 * run on one database, so that they meet the same tables and the same caches.
 */
import { PGlite } from '@electric-sql/pglite';
import { defineCollection, openStorage } from 'quartermaster';
import { compare, print } from './measure.js';

interface Order {
  status: string;
  total: number;
  note: string;
}
const Orders = defineCollection<Order>({
  name: 'orders',
  fields: { status: 'string', total: 'number' },
  indexes: [{ keys: ['status', 'total'] }],
  id: 'given',
});
const value = (i: number): Order => ({ status: `s${i % 50}`, total: i, note: 'x'.repeat(550) });

interface Sent {
  readonly client: PGlite;
  readonly text: string;
}
let sent: Sent | undefined;
/** The statement that an operation sends, and the connection it sends it on. */
async function statementOf(work: () => Promise<unknown>): Promise<Sent> {
  const query = Object.getOwnPropertyDescriptor(PGlite.prototype, 'query') ?? {};
  const original = query.value as PGlite['query'];
  PGlite.prototype.query = function (this: PGlite, text: string, ...rest) {
    sent = { client: this, text };
    return original.call(this, text, ...rest);
  } as typeof original;
  await work();
  Object.defineProperty(PGlite.prototype, 'query', query);
  return sent!;
}

await using storage = await openStorage({ databases: { main: 'pglite::memory:' } }, { environment: {} });
const orders = storage.collection(Orders);
await orders.load(Array.from({ length: 2_000 }, (_, i) => ({ id: `o${i}`, value: value(i) })));
const now = (): string => new Date().toISOString();
const id = (i: number): string => `o${(i * 7) % 2_000}`;

const insert = await statementOf(() => orders.insert(value(0), { id: 'first' }));
const get = await statementOf(() => orders.get('o1'));
const replace = await statementOf(() => orders.replace('o1', value(1), { ifVersion: 1 }));
const find = () => orders.query({ status: 's7' }, { sort: { total: 'asc' }, limit: 20 });
const page = await statementOf(find);
await insert.client.exec('ANALYZE');

const repeat =
  (work: (i: number) => Promise<unknown>) =>
  async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await work(i);
  };
let made = 0;
const versions = new Map([[1, 2]]);
const next = (i: number): number => {
  const version = versions.get(i) ?? 1;
  versions.set(i, version + 1);
  return version;
};

print('us', [
  await compare(
    'insert',
    '0.9',
    repeat((i) => orders.insert(value(i), { id: `n${made++}` })),
    repeat((i) =>
      insert.client.query(insert.text, ['default', `n${made++}`, now(), now(), 'infinity', JSON.stringify(value(i))]),
    ),
  ),
  await compare(
    'get by id',
    '0.9',
    repeat((i) => orders.get(id(i))),
    repeat((i) => get.client.query(get.text, ['default', id(i), now()])),
  ),
  await compare(
    'replace if version',
    '0.9',
    repeat((i) => orders.replace(`o${i}`, value(i), { ifVersion: next(i) })),
    repeat((i) =>
      replace.client.query(replace.text, ['default', `o${i}`, now(), 'infinity', JSON.stringify(value(i)), next(i)]),
    ),
  ),
  await compare(
    'page of 20, filtered and sorted',
    '0.9',
    repeat(find),
    repeat(() => page.client.query(page.text, ['default', now(), 's7', 21])),
    { count: 100 },
  ),
]);
