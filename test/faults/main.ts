/**
 * The fault suite in its long form: `npm run test:faults -- [kills] [schedules] [--target postgres]`. `FAULT_KILLS` says how many
 * processes are killed a target, `FAULT_CHILDREN` how many live at a time, and `FAULT_SEED` repeats what was drawn.
 * The last line of each target says what was found.
 */
import { parseArgs } from 'node:util';
import { describeVerdict, isSound } from './kills/audit.js';
import { runKills } from './kills/run.js';
import { isHere, killTargets } from './kills/targets.js';
import { seedOf, wholeNumber } from './environment.js';

const { values } = parseArgs({
  options: { target: { type: 'string', multiple: true, default: ['postgres'] } },
  allowPositionals: true,
});
const seed = seedOf();
const kills = wholeNumber('FAULT_KILLS', 1_000);
const children = wholeNumber('FAULT_CHILDREN', 6);

for (const name of values.target) {
  const target = killTargets.find((one) => one.name === name);
  if (target === undefined)
    throw new Error(`--target: expected one of ${killTargets.map((one) => one.name).join(', ')}, not ${name}`);
  if (!isHere(target)) throw new Error(`${name} waits for a server in ${target.variable}`);
  console.log(`${name}: FAULT_SEED=${seed}`);
  const started = performance.now();
  const verdict = await runKills(target, { kills, children, seed });
  for (const [what, found] of Object.entries(verdict))
    if (Array.isArray(found) && found.length > 0) console.log(`${what}: ${found.slice(0, 20).join(' ')}`);
  console.log(`${name}: ${((performance.now() - started) / 1_000).toFixed(0)} s`);
  console.log(describeVerdict(verdict));
  if (!isSound(verdict)) process.exitCode = 1;
}
