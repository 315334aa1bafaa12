/** What is registered, loaded one after another: jest does not link modules that two imports at once have in common. */
import type { PoolDriver } from '../../src/pools/pool.js';
import { registry } from '../../src/registry.js';
import type { ProviderDriver } from '../../src/vectors/provider.js';

export async function poolDrivers(): Promise<PoolDriver[]> {
  const drivers: PoolDriver[] = [];
  for (const name of registry.names().pools) drivers.push(await registry.pool(name));
  return drivers;
}

export async function providerDrivers(): Promise<ProviderDriver[]> {
  const drivers: ProviderDriver[] = [];
  for (const name of registry.names().providers) drivers.push(await registry.provider(name));
  return drivers;
}
