/** Deadlines that pass when a test says so, however slow the machine is. */
import { systemClock, type Clock, type Timer } from '../../src/clock.js';
import type { SettingsInput } from '../../src/index.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';

interface Pending {
  readonly at: number;
  readonly fire: () => void;
}

/** The system's clock, but that a test can set its timers forward; the time of day is that of the system. */
export class AheadClock implements Clock {
  private ahead = 0;
  private readonly pending = new Set<Pending>();

  now(): Date {
    return systemClock.now();
  }

  monotonic(): number {
    return systemClock.monotonic() + this.ahead;
  }

  after(...[milliseconds, callback, options]: Parameters<Clock['after']>): Timer {
    const end = (): void => {
      this.pending.delete(pending);
      timer.cancel();
    };
    const fire = (): void => {
      end();
      callback();
    };
    const pending = { at: this.monotonic() + milliseconds, fire };
    const timer = systemClock.after(milliseconds, fire, options);
    this.pending.add(pending);
    return { cancel: end };
  }

  /** So many milliseconds have passed: the timers that are due by now fire before it returns, in their order. */
  skip(milliseconds: number): void {
    this.ahead += milliseconds;
    const due = [...this.pending].filter(({ at }) => at <= this.monotonic()).sort((a, b) => a.at - b.at);
    for (const pending of due) if (this.pending.has(pending)) pending.fire();
  }
}

/** An open manager whose deadlines go by the clock. */
export async function openOn(clock: Clock, overrides: SettingsInput): Promise<StorageManager> {
  const settings = await loadSettings({ registry, environment: {}, overrides });
  const manager = new StorageManager({ registry, settings, clock });
  await manager.open();
  return manager;
}
