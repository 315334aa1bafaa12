/** The record suite over every pool of the registry, with the backend that each names. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets, describeRecordBackend } from '../src/testing/index.js';

const runner = { describe, test, beforeAll, afterAll };
const { QUARTERMASTER_CASES: cases, QUARTERMASTER_SEED: seed } = process.env;
const options = { ...(cases ? { cases: Number(cases) } : {}), ...(seed ? { seed: Number(seed) } : {}) };

const tested = new Set<string>();
const drivers = await Promise.all(registry.names().pools.map((name) => registry.pool(name)));
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
        async open() {
          const clock = systemClock;
          const pool = driver.create(target.url, defaults(driver.settings), { clock, name: target.name });
          await pool.open({ clock, signal: new AbortController().signal });
          const backend = (await registry.backend(driver.backend)).create(pool, `records:${target.name}`);
          await backend.open({ clock, signal: new AbortController().signal });
          return {
            backend,
            async close() {
              await backend.close(0);
              await pool.close(clock.monotonic() + 5_000);
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

function defaults(settings: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(settings).map(([key, spec]) => [key, (spec as { default: unknown }).default]),
  );
}
