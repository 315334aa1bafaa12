/** The vector suite over every pool of the registry with the provider that it names, and over every service. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets, describeVectorProvider, type OpenVectors } from '../src/testing/index.js';
import { defaultsOf, openPool, type OpenPool } from './support/open-target.js';
import { standInOf, type RunningStandIn } from './support/stand-ins.js';

const runner = { describe, test, beforeAll, afterAll };
const { QUARTERMASTER_CASES: cases, QUARTERMASTER_SEED: seed } = process.env;
const options = { ...(cases ? { cases: Number(cases) } : {}), ...(seed ? { seed: Number(seed) } : {}) };
const clock = systemClock;
const tested = new Set<string>();

async function openProvider(
  name: string,
  settings: Readonly<Record<string, unknown>>,
  opened?: OpenPool,
): Promise<OpenVectors> {
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

async function openStandIn(name: string, start: () => Promise<RunningStandIn>): Promise<OpenVectors> {
  const { settings, stop } = await start();
  const opened = await openProvider(name, settings);
  return {
    provider: opened.provider,
    async close() {
      await opened.close();
      await stop();
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
  for (const { name, url, setting } of available) {
    tested.add(driver.name);
    describeVectorProvider({ name, open: () => openProvider(driver.name, { [setting]: url }) }, runner, options);
  }
  const start = await standInOf(driver.name);
  if (start === undefined) continue;
  tested.add(driver.name);
  describeVectorProvider(
    { name: `a stand-in for ${driver.name}`, open: () => openStandIn(driver.name, start) },
    runner,
    options,
  );
}

test('every registered provider is tested, or waits for a server by name', () => {
  expect(registry.names().providers.filter((name) => !tested.has(name))).toEqual([]);
});
