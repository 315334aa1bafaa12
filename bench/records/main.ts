/**
 * Records through a `Collection` beside the raw driver, in one run: `npm run bench:records [-- pglite postgres]`. A ratio is
 * the raw driver's time over ours: 1 is as fast, 0.9 takes 11% longer. Servers are those of the `TEST_*` variables.
 */
import { print, type Row } from '../measure.js';
import { benchMongo } from './mongo.js';
import { benchPglite } from './pglite.js';
import { benchPostgres } from './postgres.js';
import { benchSqlite } from './sqlite.js';

const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = {
  pglite: benchPglite,
  postgres: benchPostgres,
  sqlite: benchSqlite,
  mongo: benchMongo,
};

const asked = process.argv.slice(2);
for (const [name, bench] of Object.entries(BENCHES))
  if (asked.length === 0 || asked.includes(name)) {
    console.log(`\n${name}`);
    print('us', await bench());
  }
