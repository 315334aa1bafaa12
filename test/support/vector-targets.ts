/** Everything that vectors can be kept in here: pools with the provider that each names, services, and stand-ins for them. */
import { systemClock as clock } from '../../src/clock.js';
import { registry } from '../../src/registry.js';
import { availableTargets, type OpenVectors, type VectorTarget } from '../../src/testing/index.js';
import { defaultsOf, openPool, type OpenPool } from './open-target.js';
import { standInOf, type RunningStandIn } from './stand-ins.js';
import { poolDrivers, providerDrivers } from './drivers.js';

interface ProviderTarget extends VectorTarget {
  readonly provider: string;
}

export interface VectorTargets {
  readonly available: readonly ProviderTarget[];
  readonly waiting: readonly { readonly name: string; readonly variable: string; readonly provider: string }[];
}

export async function vectorTargets(): Promise<VectorTargets> {
  const available: ProviderTarget[] = [];
  const waiting: VectorTargets['waiting'][number][] = [];
  for (const driver of await poolDrivers()) {
    const { vectors: provider } = driver;
    if (provider === undefined) continue;
    const targets = availableTargets(driver.tests, process.env);
    waiting.push(...targets.waiting.map(({ name, variable }) => ({ name, variable, provider })));
    for (const target of targets.available)
      available.push({
        name: `${provider} on ${target.name}`,
        provider,
        open: async () => openProvider(provider, {}, await openPool(driver, target)),
      });
  }
  for (const driver of await providerDrivers()) {
    const provider = driver.name;
    const targets = availableTargets(driver.tests ?? [], process.env);
    waiting.push(...targets.waiting.map(({ name, variable }) => ({ name, variable, provider })));
    for (const { name, url, setting } of targets.available)
      available.push({ name, provider, open: () => openProvider(provider, { [setting]: url }) });
    const start = await standInOf(provider);
    if (start !== undefined)
      available.push({ name: `a stand-in for ${provider}`, provider, open: () => openStandIn(provider, start) });
  }
  return { available, waiting };
}

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
