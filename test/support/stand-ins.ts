/**
 * Stand-ins for services that no test machine has: a provider's is `test/support/<provider>/suite-target.ts`, found by its
 * name. The published registration knows nothing of it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface RunningStandIn {
  /** Of a provider that is to use it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Rejects when what was asked or answered was not as the service describes it. */
  readonly stop: () => Promise<void>;
}

interface SuiteTarget {
  readonly startStandIn: () => Promise<RunningStandIn>;
}

export async function standInOf(provider: string): Promise<SuiteTarget['startStandIn'] | undefined> {
  const file = join(import.meta.dirname, provider, 'suite-target.js');
  if (!existsSync(file)) return undefined;
  return ((await import(file)) as SuiteTarget).startStandIn;
}
