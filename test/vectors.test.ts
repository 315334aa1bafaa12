/** The vector suite over every pool of the registry with the provider that it names, and over every service. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { registry } from '../src/registry.js';
import { describeVectorProvider } from '../src/testing/index.js';
import { vectorTargets } from './support/vector-targets.js';

const runner = { describe, test, beforeAll, afterAll };
const { QUARTERMASTER_CASES: cases, QUARTERMASTER_SEED: seed } = process.env;
const options = { cases: Number(cases ?? 1_000), ...(seed ? { seed: Number(seed) } : {}) };
const { available, waiting } = await vectorTargets();

for (const target of available) describeVectorProvider(target, runner, options);

for (const { name, variable } of waiting)
  describe.skip(`vectors on ${name}`, () =>
    test(`waits for a server in ${variable}`, () => expect(variable).toBeDefined()));

test('every registered provider is tested, or waits for a server by name', () => {
  const tested = new Set([...available, ...waiting].map(({ provider }) => provider));
  expect(registry.names().providers.filter((name) => !tested.has(name))).toEqual([]);
});
