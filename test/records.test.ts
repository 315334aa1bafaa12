/** The record suite over every pool of the registry, with the backend that each names. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets, describeRecordBackend } from '../src/testing/index.js';
import { openPool } from './support/open-target.js';
import { poolDrivers } from './support/drivers.js';

const runner = { describe, test, beforeAll, afterAll };
const { QUARTERMASTER_CASES: cases, QUARTERMASTER_SEED: seed } = process.env;
const options = { cases: Number(cases ?? 1_000), ...(seed ? { seed: Number(seed) } : {}) };

const tested = new Set<string>();
const drivers = await poolDrivers();
for (const driver of drivers) {
  const { available, waiting } = availableTargets(driver.tests, process.env);
  for (const { name, variable } of waiting)
    describe.skip(`records on ${name}`, () =>
      test(`waits for a server in ${variable}`, () => expect(variable).toBeDefined()));
  for (const target of available) {
    tested.add(driver.backend);
    describeRecordBackend(
      {
        name: target.name,
        magnitudes: target.magnitudes,
        keepsUniqueKeys: target.keepsUniqueKeys,
        async open() {
          const clock = systemClock;
          const { pool, close } = await openPool(driver, target);
          const backend = (await registry.backend(driver.backend)).create(pool, `records:${target.name}`);
          await backend.open({ clock, signal: new AbortController().signal });
          return {
            backend,
            async close() {
              await backend.close(0);
              await close();
            },
          };
        },
      },
      runner,
      options,
    );
  }
}

test('every registered backend is tested, or waits for a server by name', () => {
  const named = new Set(drivers.map(({ backend }) => backend));
  expect(registry.names().backends.filter((name) => !named.has(name))).toEqual([]);
  expect([...tested].length).toBeGreaterThan(0);
});
