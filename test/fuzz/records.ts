/** The properties of records, over every backend. */
import { systemClock as clock } from '../../src/clock.js';
import { registry } from '../../src/registry.js';
import type { PropertyOptions } from '../../src/testing/index.js';
import { compareBulk } from '../../src/testing/record-bulk-properties.js';
import { compareQueries, compareWrites } from '../../src/testing/record-properties.js';
import { compareUnique } from '../../src/testing/record-unique.js';
import { availableTargets } from '../../src/testing/targets.js';
import { openPool } from '../support/open-target.js';
import type { Tally } from './tally.js';

const PROPERTIES = { queries: compareQueries, writes: compareWrites, bulk: compareBulk, unique: compareUnique };

export async function fuzzRecords(
  options: PropertyOptions,
  isAsked: (target: string) => boolean,
  tally: Tally,
): Promise<void> {
  for (const poolName of registry.names().pools) {
    const driver = await registry.pool(poolName);
    const { available, waiting } = availableTargets(driver.tests, process.env);
    for (const { name, variable } of waiting) console.log(`${name}: not run, it waits for a server in ${variable}`);
    for (const target of available) {
      if (!isAsked(target.name)) continue;
      const { pool, close } = await openPool(driver, target);
      const backend = (await registry.backend(driver.backend)).create(pool, `records:${target.name}`);
      await backend.open({ clock, signal: new AbortController().signal });
      const { magnitudes, keepsUniqueKeys } = target;
      for (const [property, compare] of Object.entries(PROPERTIES))
        await tally.run(`${target.name} ${property}`, () =>
          compare(backend, { ...options, magnitudes, keepsUniqueKeys }),
        );
      await backend.close(clock.monotonic());
      await close();
    }
  }
}
