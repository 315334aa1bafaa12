/**
 * The differential tests in their long form: `npm run fuzz -- --cases 100000 [--seed N] [--target sqlite]`. Every target that
 * can be reached answers random cases beside the oracle, all in this process. The last line says how many cases ran and
 * how many properties disagreed; each disagreement is printed with the seed that replays it.
 */
import { parseArgs } from 'node:util';
import { systemClock as clock } from '../../src/clock.js';
import { registry } from '../../src/registry.js';
import { availableTargets } from '../../src/testing/targets.js';
import { compareBulk } from '../../src/testing/record-bulk-properties.js';
import { compareQueries, compareWrites } from '../../src/testing/record-properties.js';
import { compareUnique } from '../../src/testing/record-unique.js';
import { openPool } from '../support/open-target.js';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string' },
    target: { type: 'string', multiple: true },
  },
});
const cases = Number(values.cases);
const seed = values.seed === undefined ? undefined : Number(values.seed);
if (!Number.isSafeInteger(cases) || cases < 1) throw new Error('--cases: expected a whole number above 0');

const PROPERTIES = { queries: compareQueries, writes: compareWrites, bulk: compareBulk, unique: compareUnique };
let ran = 0;
let disagreed = 0;

for (const poolName of registry.names().pools) {
  const driver = await registry.pool(poolName);
  const { available, waiting } = availableTargets(driver.tests, process.env);
  for (const { name, variable } of waiting) console.log(`${name}: not run, it waits for a server in ${variable}`);
  for (const target of available) {
    if (values.target !== undefined && !values.target.includes(target.name)) continue;
    const { pool, close } = await openPool(driver, target);
    const backend = (await registry.backend(driver.backend)).create(pool, `records:${target.name}`);
    await backend.open({ clock, signal: new AbortController().signal });
    const { magnitudes, keepsUniqueKeys } = target;
    for (const [property, compare] of Object.entries(PROPERTIES)) {
      const started = clock.monotonic();
      try {
        const options = { cases, magnitudes, keepsUniqueKeys, ...(seed === undefined ? {} : { seed }) };
        const report = await compare(backend, options);
        ran += report.cases;
        const seconds = ((clock.monotonic() - started) / 1_000).toFixed(1);
        console.log(
          `${target.name} ${property}: ${report.cases} cases, ${report.nonEmpty} with an answer, ${seconds} s`,
        );
      } catch (error) {
        disagreed++;
        console.log(`${target.name} ${property}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    await backend.close(clock.monotonic());
    await close();
  }
}
console.log(`${ran} cases ran, ${disagreed} disagreed`);
process.exitCode = disagreed === 0 ? 0 : 1;
