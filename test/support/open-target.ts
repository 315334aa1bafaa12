/** Opens what a registration says can be tested, on a database of its own. */
import { systemClock as clock } from '../../src/clock.js';
import type { SettingsFragment } from '../../src/component.js';
import type { Pool, PoolDriver } from '../../src/pools/pool.js';
import type { AvailableTarget } from '../../src/testing/index.js';

export interface OpenPool {
  readonly pool: Pool;
  readonly close: () => Promise<void>;
}

/** @param settings over the defaults of the registration. */
export async function openPool(driver: PoolDriver, target: AvailableTarget, settings: object = {}): Promise<OpenPool> {
  const { url, drop } = await target.prepare();
  const pool = driver.create(url, { ...defaultsOf(driver.settings ?? {}), ...settings }, { clock, name: target.name });
  try {
    await pool.open({ clock, signal: new AbortController().signal });
  } catch (error) {
    await drop();
    throw error;
  }
  return {
    pool,
    async close() {
      await pool.close(clock.monotonic() + 5_000);
      await drop();
    },
  };
}

/** The settings that a component has when nothing is said. */
export function defaultsOf(fragment: SettingsFragment): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fragment).map(([key, entry]) => [
      key,
      typeof entry['doc'] === 'string' ? entry['default'] : defaultsOf(entry as SettingsFragment),
    ]),
  );
}
