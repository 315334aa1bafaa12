/** Loses its idle connections to a server, leaks a client, closes and ends by itself. */
import { writeSync } from 'node:fs';
import pg from 'pg';
import { defineCollection, openStorage } from '../../src/index.js';

const [url, applicationName] = process.argv.slice(2) as [string, string];
const Notes = defineCollection<{ text: string }>({ name: 'notes' });
const options = { url, applicationName, pool: { max: 4, leakTimeout: 1 } };
const storage = await openStorage({ databases: { main: options } }, { environment: {} });
const notes = storage.collection(Notes);
await Promise.all(Array.from({ length: 4 }, (_, i) => notes.save({ text: String(i) })));

const other = new pg.Client({ connectionString: url });
await other.connect();
const { rows } = await other.query<{ ended: boolean }>(
  'SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity WHERE application_name = $1',
  [applicationName],
);
await other.end();
// Whether the news of their end has come or not: the pool tries what it has before it gives up.
for (let served = 0; served < 20;) {
  const outcome = await notes.count().then(
    () => 'served',
    (error: { retryable?: boolean }) => (error.retryable === true ? 'refused' : Promise.reject(error as Error)),
  );
  if (outcome === 'served') served++;
}
await storage.sql<pg.Pool>().connect();
let health: string;
do health = JSON.stringify(await storage.health());
while (!health.includes('"leaks"'));
await storage.close({ deadline: 200 });
writeSync(1, JSON.stringify({ ended: rows.length, state: storage.state, health }));
