/**
 * The fault suite in its long form: `npm run test:faults -- [kills] [schedules] [--target postgres]`, by default both. `FAULT_KILLS`
 * says how many processes are killed a target (1,000), `FAULT_CHILDREN` how many live at a time (6), `FAULT_SCHEDULES` how many
 * schedules run (1,000); `FAULT_SEED` repeats what was drawn, of schedules the one that has it.
 * Ctrl-C ends the kills early. The last line of each part says what was found.
 */
import { inspect, parseArgs } from 'node:util';
import { seedOf, wholeNumber } from './environment.js';
import { describeVerdict, isSound } from './kills/audit.js';
import { runKills } from './kills/run.js';
import { isHere, killTargets } from './kills/targets.js';
import { describeExploration, explore } from './schedules/explore.js';
import { runSchedule } from './schedules/run.js';
import { drawSchedule } from './schedules/schedule.js';

const { values, positionals } = parseArgs({
  options: { target: { type: 'string', multiple: true, default: ['postgres'] } },
  allowPositionals: true,
});
const seed = seedOf();

const PARTS: Readonly<Record<string, () => Promise<boolean>>> = {
  schedules: async () => {
    const isReplay = process.env['FAULT_SEED'] !== undefined;
    const found = await explore(seed, wholeNumber('FAULT_SCHEDULES', isReplay ? 1 : 1_000));
    for (const failing of found.unserializable.slice(0, 3)) {
      const schedule = drawSchedule(failing);
      console.log(`FAULT_SEED=${failing}`);
      console.log(inspect({ schedule, history: await runSchedule(schedule) }, { depth: 6 }));
    }
    console.log(describeExploration(found));
    return found.unserializable.length === 0;
  },
  kills: async () => {
    let sound = true;
    for (const name of values.target) sound = (await killOn(name)) && sound;
    return sound;
  },
};

async function killOn(name: string): Promise<boolean> {
  const target = killTargets.find((one) => one.name === name);
  if (target === undefined)
    throw new Error(`--target: expected one of ${killTargets.map((one) => one.name).join(', ')}, not ${name}`);
  if (!isHere(target)) throw new Error(`${name} waits for a server in ${target.variable}`);
  const started = performance.now();
  const early = new AbortController();
  const endEarly = (): void => early.abort();
  process.once('SIGINT', endEarly);
  const options = { kills: wholeNumber('FAULT_KILLS', 1_000), children: wholeNumber('FAULT_CHILDREN', 6), seed };
  const verdict = await runKills(target, { ...options, signal: early.signal });
  process.off('SIGINT', endEarly);
  for (const [what, found] of Object.entries(verdict))
    if (Array.isArray(found) && found.length > 0) console.log(`${what}: ${found.slice(0, 20).join(' ')}`);
  console.log(`${name}: ${((performance.now() - started) / 1_000).toFixed(0)} s`);
  console.log(describeVerdict(verdict));
  return isSound(verdict);
}

const unknown = positionals.find((part) => PARTS[part] === undefined);
if (unknown !== undefined) throw new Error(`Expected ${Object.keys(PARTS).join(' or ')}, not ${unknown}`);
console.log(`FAULT_SEED=${seed}`);
for (const [name, part] of Object.entries(PARTS))
  if ((positionals.length === 0 || positionals.includes(name)) && !(await part())) process.exitCode = 1;
