/** Records through a `Collection` beside the same statements on PGlite itself: `npm run bench:records`. */
import { PGlite } from '@electric-sql/pglite';
import { defineCollection, openStorage } from 'quartermaster';
import { compare, print, type Row } from './measure.js';

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
const value = (i: number): Order => ({ status: 'open', total: i, note: 'x'.repeat(550) });
const CREATE = `CREATE TABLE o (tenant text COLLATE "C", id text COLLATE "C", version bigint, created_at timestamptz(3), updated_at timestamptz(3),
  expires_at timestamptz(3) DEFAULT 'infinity', value jsonb, PRIMARY KEY (tenant, id));
  CREATE INDEX ON o (tenant, ((CASE WHEN jsonb_typeof(value->'status') = 'string' THEN value->>'status' END) COLLATE "C") NULLS FIRST,
    (CASE WHEN jsonb_typeof(value->'total') = 'number' THEN (value->'total')::float8 END) NULLS FIRST, id)`;

await using storage = await openStorage({ databases: { main: 'pglite::memory:' } }, { environment: {} });
const orders = storage.collection(Orders);
const raw = await PGlite.create();
await raw.exec(CREATE);
const insert =
  'INSERT INTO o VALUES ($1, $2, 1, $3, $3, DEFAULT, $4) ON CONFLICT (tenant, id) DO NOTHING RETURNING version';
const get =
  'SELECT version, created_at, updated_at, expires_at, value FROM o WHERE tenant = $1 AND id = $2 AND expires_at > $3';
const replace =
  'UPDATE o SET value = $3, version = version + 1, updated_at = $4 WHERE tenant = $1 AND id = $2 AND version = $5 AND expires_at > $4 RETURNING version';

let mine = 0;
let theirs = 0;
const rows: Row[] = [];
rows.push(
  await compare(
    'insert',
    '0.9',
    async (count) => {
      for (let i = 0; i < count; i++, mine++) await orders.insert(value(mine), { id: `o${mine}` });
    },
    async (count) => {
      for (let i = 0; i < count; i++, theirs++)
        await raw.query(insert, ['default', `o${theirs}`, new Date().toISOString(), JSON.stringify(value(theirs))]);
    },
  ),
);
rows.push(
  await compare(
    'get by id',
    '0.9',
    async (count) => {
      for (let i = 0; i < count; i++) await orders.get(`o${(i * 7) % mine}`);
    },
    async (count) => {
      for (let i = 0; i < count; i++)
        await raw.query(get, ['default', `o${(i * 7) % theirs}`, new Date().toISOString()]);
    },
  ),
);
const versions = { mine: new Map<number, number>(), theirs: new Map<number, number>() };
const next = (of: Map<number, number>, i: number): number => {
  const version = of.get(i) ?? 1;
  of.set(i, version + 1);
  return version;
};
rows.push(
  await compare(
    'replace if version',
    '0.9',
    async (count) => {
      for (let i = 0; i < count; i++) await orders.replace(`o${i}`, value(i), { ifVersion: next(versions.mine, i) });
    },
    async (count) => {
      for (let i = 0; i < count; i++)
        await raw.query(replace, [
          'default',
          `o${i}`,
          JSON.stringify(value(i)),
          new Date().toISOString(),
          next(versions.theirs, i),
        ]);
    },
  ),
);
const page = `SELECT id, version, created_at, updated_at, expires_at, value FROM o WHERE tenant = $1 AND expires_at > $2
  AND ((CASE WHEN jsonb_typeof(value->'status') = 'string' THEN value->>'status' END) COLLATE "C") = $3
  ORDER BY (CASE WHEN jsonb_typeof(value->'total') = 'number' THEN (value->'total')::float8 END) ASC NULLS FIRST, id LIMIT 21`;
rows.push(
  await compare(
    'page of 20, filtered and sorted',
    '0.9',
    async (count) => {
      for (let i = 0; i < count; i++) await orders.query({ status: 'open' }, { sort: { total: 'asc' }, limit: 20 });
    },
    async (count) => {
      for (let i = 0; i < count; i++) await raw.query(page, ['default', new Date().toISOString(), 'open']);
    },
    { count: 100 },
  ),
);
print('us', rows);
await raw.close();
