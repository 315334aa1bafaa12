/** The databases that the registry says can be tested here, as a host opens them. */
import { describe, expect, test } from '@jest/globals';
import type { PreparedTarget, SettingsFragment } from '../../src/component.js';
import { availableTargets } from '../../src/testing/index.js';
import { poolDrivers } from './drivers.js';

export interface StorageTarget {
  readonly name: string;
  /** Whether several processes, each with a manager of its own, can open it at once. */
  readonly server: boolean;
  readonly transactions: boolean;
  /** Whether vectors can be kept in it. */
  readonly vectors: boolean;
  readonly prepare: () => Promise<PreparedTarget>;
  /** Options of the database with which whoever waits for a connection waits for a minute: many do at once on a busy machine. */
  readonly patient: object;
}

const drivers = await poolDrivers();

/** Those that are here; what waits for a server is reported as skipped under `suite`. */
export function storageTargets(suite: string): StorageTarget[] {
  return drivers.flatMap(({ tests, settings, vectors: provider }) => {
    const { available, waiting } = availableTargets(tests, process.env);
    for (const { name, variable } of waiting)
      describe.skip(`${suite} on ${name}`, () =>
        test(`waits for a server in ${variable}`, () => expect(variable).toBeDefined()));
    return available.map((target) => {
      const { variable, transactions = true } = tests.find(({ name }) => name === target.name)!;
      return {
        name: target.name,
        server: variable !== undefined,
        transactions,
        vectors: provider !== undefined,
        prepare: () => target.prepare(),
        patient: patience(settings),
      };
    });
  });
}

function patience(settings: SettingsFragment = {}): object {
  const acquireTimeout = 60_000;
  if ('acquireTimeout' in settings) return { acquireTimeout };
  return 'acquireTimeout' in (settings['pool'] ?? {}) ? { pool: { acquireTimeout } } : {};
}
