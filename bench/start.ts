/** What starting costs: imports, and opening the memory backend and PGlite, each in processes of its own: `npm run bench:start`. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, print, type Row } from './measure.js';

const directory = mkdtempSync(join(tmpdir(), 'bench-'));
const OPEN_PGLITE = (target: string): string =>
  `const { PGlite } = await import('@electric-sql/pglite'); const { vector } = await import('@electric-sql/pglite-pgvector');
   const start = performance.now(); const db = await PGlite.create('${target}', { extensions: { vector } }); const end = performance.now(); await db.close();`;
const MODULES = ['container', 'manager', 'settings', 'backends/memory', 'backends/sql/index', 'vectors/memory'];
const PGLITE_MODULES = ['pools/pglite/index', 'vectors/pgvector/index'];
// What opening imports is imported before the clock starts, as the raw client is.
const IMPORTED = `const { openStorage } = await import('quartermaster'); await import('yaml');
  for (const name of ${JSON.stringify([...MODULES, ...PGLITE_MODULES])}) await import('./dist/' + name + '.js');`;
const OPEN_OURS = (url: string): string =>
  `${IMPORTED} await import('@electric-sql/pglite'); await import('@electric-sql/pglite-pgvector');
   const start = performance.now(); const s = await openStorage({ databases: { main: '${url}' } }, { environment: {} }); const end = performance.now(); await s.close();`;
const IMPORT = (name: string): string =>
  `const start = performance.now(); await import('${name}'); const end = performance.now();`;

/** Milliseconds between `start` and `end` of a script in a process of its own, here in the package. */
function measure(script: string): number {
  return Number(
    execFileSync(process.execPath, ['--input-type=module', '-e', `${script} console.log(end - start);`]).toString(),
  );
}

function compare(what: string, goal: string, ours: string, raw: string, rounds: number): Row {
  const times = Array.from({ length: rounds }, (_, round) => {
    const scripts = [ours, raw, raw];
    const row = [0, 0, 0];
    for (const i of round % 2 === 0 ? [0, 1, 2] : [2, 1, 0]) row[i] = measure(scripts[i]!);
    return row;
  });
  return {
    what,
    ours: median(times.map((row) => row[0]!)),
    raw: median(times.map((row) => row[1]!)),
    control: median(times.map((row) => row[2]! / row[1]!)),
    // Ours over raw here: the goals are upper bounds.
    ratio: median(times.map((row) => row[0]! / ((row[1]! + row[2]!) / 2))),
    goal,
  };
}

const rows = [
  compare("import 'quartermaster' / import 'pg'", 'at most 1.15', IMPORT('quartermaster'), IMPORT('pg'), 15),
];
measure(OPEN_OURS(`pglite:${directory}/ours`));
measure(OPEN_PGLITE(`${directory}/raw`));
rows.push(
  compare(
    'open an existing PGlite directory',
    'at most 1.2',
    OPEN_OURS(`pglite:${directory}/ours`),
    OPEN_PGLITE(`${directory}/raw`),
    9,
  ),
);
let made = 0;
const fresh = Array.from({ length: 3 }, () => [
  measure(OPEN_OURS(`pglite:${directory}/new${made++}`)),
  measure(OPEN_PGLITE(`${directory}/new${made++}`)),
  measure(OPEN_PGLITE(`${directory}/new${made++}`)),
]);
rows.push({
  what: 'create a PGlite directory',
  ours: median(fresh.map((row) => row[0]!)),
  raw: median(fresh.map((row) => row[1]!)),
  control: median(fresh.map((row) => row[2]! / row[1]!)),
  ratio: median(fresh.map((row) => row[0]! / row[1]!)),
  goal: '',
});
print('ms', rows);

const opening = Array.from({ length: 15 }, () =>
  measure(
    `${IMPORTED} await import('./dist/pools/memory.js');
     const start = performance.now(); await openStorage({ databases: { main: 'memory:' } }, { environment: {} }); const end = performance.now();`,
  ),
);
console.log(`\nopening the memory backend, beyond its imports: ${median(opening).toFixed(1)} ms (goal: at most 60)`);
rmSync(directory, { recursive: true });
