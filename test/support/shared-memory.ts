/** Several managers over one memory, as several processes over one database. */
import type { Clock } from '../../src/clock.js';
import { StorageManager } from '../../src/manager.js';
import { memory, type MemoryPool } from '../../src/pools/memory.js';
import type { PoolDriver } from '../../src/pools/pool.js';
import { registerPool, registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';
import { systemClock } from '../../src/clock.js';

const pools = new Map<string, MemoryPool>();

/** What the pool is named in the settings tells its memory: `shared:<name>:<seed>`. */
const driver: PoolDriver<MemoryPool> = {
  ...memory,
  name: 'shared',
  schemes: ['shared'],
  settings: {},
  tests: [],
  checkUrl: () => undefined,
  key: (url) => url,
  create(url, _options, environment) {
    let pool = pools.get(url);
    if (pool === undefined) {
      const seed = Number(url.split(':')[2]);
      pool = memory.create('memory:', { seed }, environment);
      // One manager's end is not the others'.
      pool.close = async () => undefined;
      pools.set(url, pool);
    }
    return pool;
  },
};
registerPool(driver);

let names = 0;

/**
 * Gives a function that opens a manager, each time another one, over one memory. A manager may have a clock of its own, as
 * a process that is frozen; the memory judges deadlines by the first one's.
 */
export function sharedMemory(seed = 1, clock: Clock = systemClock): (own?: Clock) => Promise<StorageManager> {
  const url = `shared:${++names}:${seed}`;
  return (own = clock) => openManager(url, own);
}

/** An open manager of one database, whose time is the test's. */
export async function openManager(url: string, clock: Clock): Promise<StorageManager> {
  const settings = await loadSettings({
    registry,
    environment: {},
    overrides: { databases: { main: { url } }, lifecycle: { sweepInterval: 0 } },
  });
  const manager = new StorageManager({ registry, settings, clock });
  await manager.open();
  return manager;
}
