/**
 * `pool.query` beside a client of the package `pg` with the same named statement: `npm run bench:postgres`, with a server in
 * TEST_POSTGRES_URL. Then what many callers at once get, without and with the pipeline.
 */
import pg from 'pg';
import { systemClock as clock } from '../src/clock.js';
import { postgres } from '../src/pools/postgres/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { compare, print } from './measure.js';

const url = process.env['TEST_POSTGRES_URL'];
if (url === undefined) throw new Error('TEST_POSTGRES_URL: expected the URL of a server');

const text = `SELECT $1::int8 AS id, $2::text AS name, '{"a":1,"b":[1,2,3]}'::jsonb AS value, now() AS at`;
const values = [42, 'hello'];

async function open(settings: Record<string, unknown>): Promise<SqlPool> {
  const pool = postgres.create(url!, settings, { clock, name: 'main' });
  await pool.open({ clock, signal: new AbortController().signal });
  return pool;
}

const query = (pool: SqlPool): Promise<unknown> =>
  pool.query(text, values, { now: clock.now(), deadline: clock.monotonic() + 30_000 }, { name: 'get' });

const repeat = (work: () => Promise<unknown>) => async (count: number) => {
  for (let i = 0; i < count; i++) await work();
};

const pool = await open({});
const client = new pg.Client({ connectionString: url });
await client.connect();
print('us', [
  await compare(
    'one named statement',
    '0.95',
    repeat(() => query(pool)),
    repeat(() => client.query({ name: 'get', text, values })),
    { rounds: 25, count: 1_000 },
  ),
]);
await client.end();
await pool.close(clock.monotonic() + 1_000);

const CALLERS = 100;
const SECONDS = 2;
console.log(`\n| connections | pipeline | statements a second, ${CALLERS} callers |\n|---|---|---|`);
for (const max of [2, 10])
  for (const pipeline of [false, true]) {
    const shared = await open({ pipeline, pool: { max } });
    let done = 0;
    const end = performance.now() + SECONDS * 1_000;
    const call = async (): Promise<void> => {
      for (; performance.now() < end; done++) await query(shared);
    };
    await Promise.all(Array.from({ length: CALLERS }, call));
    console.log(`| ${max} | ${pipeline} | ${Math.round(done / SECONDS)} |`);
    await shared.close(clock.monotonic() + 1_000);
  }
