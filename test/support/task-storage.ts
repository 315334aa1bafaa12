/** The storages of the tests of tasks: one a target, and refusals told by their code. */
import { afterAll, beforeAll, describe, expect } from '@jest/globals';
import { offsetClock, systemClock } from '../../src/clock.js';
import { isStorageError, type SettingsInput, type TenantStorage } from '../../src/index.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';
import { storageTargets } from './storage-targets.js';

export interface TaskStorage {
  readonly storage: StorageManager;
  /** Of a tenant that no other test has. */
  readonly tenant: (name?: string) => TenantStorage;
  /** Sets the storage's time of day on; its timers are the system's. */
  readonly wait: (days: number) => void;
}

let tenants = 0;

/** @param atomic the targets that can write tasks, or those that cannot */
export function describeTasks(
  topic: string,
  tests: (made: TaskStorage, target: string) => void,
  { atomic = true, settings = {} }: { readonly atomic?: boolean; readonly settings?: SettingsInput } = {},
): void {
  for (const target of storageTargets(topic).filter(({ transactions }) => transactions === atomic))
    describe(`${topic} on ${target.name}`, () => {
      let open: StorageManager;
      let drop: () => Promise<void>;
      let days = 0;
      const clock = offsetClock(systemClock, () => days * 86_400_000);
      beforeAll(async () => {
        const prepared = await target.prepare();
        drop = prepared.drop;
        const databases = { main: { url: prepared.url, ...target.patient } };
        const overrides = { databases, lifecycle: { operationTimeout: 120_000 }, ...settings };
        const loaded = await loadSettings({ registry, environment: {}, overrides });
        open = new StorageManager({ registry, settings: loaded, clock });
        await open.open();
      });
      afterAll(async () => {
        await open.close();
        await drop();
      });
      const made: TaskStorage = {
        get storage() {
          return open;
        },
        wait: (more) => void (days += more),
        tenant: (name = `tenant${++tenants}`) => open.tenant(name),
      };
      tests(made, target.name);
    });
}

/** @returns the details of the refusal */
export async function refused(work: Promise<unknown>, code: string): Promise<Readonly<Record<string, unknown>>> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isStorageError(error)) throw new Error(`expected ${code}`, { cause: error });
  expect([error.code, error.message]).toEqual([code, error.message]);
  return error.details;
}
