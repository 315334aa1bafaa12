/** The vector suite over every pool of the registry with the provider that it names, and over every service. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets, describeVectorProvider, type OpenVectors } from '../src/testing/index.js';
import { defaultsOf, openPool, type OpenPool } from './support/open-target.js';

const runner = { describe, test, beforeAll, afterAll };
const { QUARTERMASTER_CASES: cases, QUARTERMASTER_SEED: seed } = process.env;
const options = { ...(cases ? { cases: Number(cases) } : {}), ...(seed ? { seed: Number(seed) } : {}) };
const clock = systemClock;
const tested = new Set<string>();

async function openProvider(name: string, settings: Record<string, unknown>, opened?: OpenPool): Promise<OpenVectors> {
  const driver = await registry.provider(name);
  const environment = { clock, name: `vectors:${name}`, ...(opened === undefined ? {} : { pool: opened.pool }) };
  const provider = driver.create({ ...defaultsOf(driver.settings ?? {}), ...settings }, environment);
  await provider.open({ clock, signal: new AbortController().signal });
  return {
    provider,
    async close() {
      await provider.close(clock.monotonic() + 5_000);
      await opened?.close();
    },
  };
}

for (const driver of await Promise.all(registry.names().pools.map((name) => registry.pool(name)))) {
  const { vectors } = driver;
  if (vectors === undefined) continue;
  const { available, waiting } = availableTargets(driver.tests, process.env);
  for (const { name, variable } of waiting)
    describe.skip(`vectors on ${name}`, () =>
      test(`waits for a server in ${variable}`, () => expect(variable).toBeDefined()));
  for (const target of available) {
    tested.add(vectors);
    const open = async (): Promise<OpenVectors> => openProvider(vectors, {}, await openPool(driver, target));
    describeVectorProvider({ name: `${vectors} on ${target.name}`, open }, runner, options);
  }
}

for (const driver of await Promise.all(registry.names().providers.map((name) => registry.provider(name)))) {
  const { available, waiting } = availableTargets(driver.tests ?? [], process.env);
  for (const { name, variable } of waiting) {
    tested.add(driver.name);
    describe.skip(`vectors on ${name}`, () =>
      test(`waits for a server in ${variable}`, () => expect(variable).toBeDefined()));
  }
  for (const { name, url } of available) {
    tested.add(driver.name);
    describeVectorProvider({ name, open: () => openProvider(driver.name, { url }) }, runner, options);
  }
}

test('every registered provider is tested, or waits for a server by name', () => {
  expect(registry.names().providers.filter((name) => !tested.has(name))).toEqual([]);
});
