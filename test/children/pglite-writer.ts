/** Inserts rows into a PGlite directory, one in a statement and two in a transaction by turns, and prints each that is kept. */
import { writeSync } from 'node:fs';
import { systemClock as clock } from '../../src/clock.js';
import { pglite } from '../../src/pools/pglite/index.js';

const [directory, first] = process.argv.slice(2) as [string, string];
const pool = pglite.create(`pglite:${directory}`, {}, { clock, name: 'main' });
await pool.open({ clock, signal: new AbortController().signal });
const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
await pool.script('CREATE TABLE IF NOT EXISTS acknowledged (id int PRIMARY KEY, pair int, filling text)', context());
const insert = 'INSERT INTO acknowledged VALUES ($1, $2, repeat($3, 500))';
for (let id = Number(first); ; id += 3) {
  await pool.query(insert, [id, null, 'x'], context());
  writeSync(1, `${id}\n`);
  await pool.transaction({ context: context() }, async (session) => {
    await pool.query(insert, [id + 1, id + 2, 'y'], { ...context(), session });
    await pool.query(insert, [id + 2, id + 1, 'z'], { ...context(), session });
  });
  writeSync(1, `${id + 1}\n${id + 2}\n`);
}
