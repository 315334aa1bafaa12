/** Makes the engine panic, and prints what the pool does then. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock as clock } from '../../src/clock.js';
import { isStorageError } from '../../src/errors.js';
import { pglite } from '../../src/pools/pglite/index.js';

const [directory] = process.argv.slice(2) as [string];
const pool = pglite.create(`pglite:${directory}`, {}, { clock, name: 'main' });
await pool.open({ clock, signal: new AbortController().signal });
const run = (text: string) =>
  pool.query(text, [], { now: clock.now(), deadline: clock.monotonic() + 10_000 }).then(
    () => 'done',
    (error: unknown) => (isStorageError(error) ? error.code : String(error)),
  );
await run('CREATE TABLE t (i int)');
await run('SELECT pg_switch_wal()');
rmSync(join(directory, 'data/pg_wal'), { recursive: true });
const outcomes = [...(await Promise.all([run('INSERT INTO t VALUES (1)'), run('SELECT 1')])), await run('SELECT 1')];
const { status } = await pool.check(AbortSignal.timeout(20_000));
await pool.close(clock.monotonic() + 1_000);
console.log(JSON.stringify({ outcomes, status }));
