/**
 * Records through a `Collection` beside the raw driver and beside peers, in one run: `npm run bench:records [-- pglite load]`.
 * `docs/benchmarks.md` tells what is measured.
 */
import { print, type Row } from '../measure.js';
import { benchConcurrent } from './concurrent.js';
import { benchLoading } from './loading.js';
import { benchMongo } from './mongo.js';
import { benchBeside } from './peers/beside.js';
import { openDrizzle } from './peers/drizzle.js';
import { openKeyv } from './peers/keyv.js';
import { openKysely } from './peers/kysely.js';
import { benchPglite } from './pglite.js';
import { benchPostgres } from './postgres.js';
import { benchSqlite } from './sqlite.js';

const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = {
  pglite: benchPglite,
  postgres: benchPostgres,
  load: benchLoading,
  concurrent: benchConcurrent,
  sqlite: benchSqlite,
  mongo: benchMongo,
};

const PEERS = { drizzle: openDrizzle, kysely: openKysely, keyv: openKeyv };

const asked = process.argv.slice(2);
const isAsked = (name: string): boolean => asked.length === 0 || asked.includes(name);
for (const [name, bench] of Object.entries(BENCHES))
  if (isAsked(name)) {
    console.log(`\n${name}`);
    print('us', await bench());
  }
for (const [name, open] of Object.entries(PEERS))
  if (isAsked(name)) {
    console.log(`\npostgres beside ${name}`);
    print('us', await benchBeside(open), name);
  }
