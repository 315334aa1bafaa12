/** What the registry says can be tested here, and with which variable. */
import type { Magnitudes, PreparedTarget, TestTarget } from '../component.js';

export interface AvailableTarget {
  readonly name: string;
  readonly url: string;
  /** The setting of a provider that takes `url`. */
  readonly setting: string;
  /** A database for one run, as the registration makes it; else the URL as it is. */
  prepare(): Promise<PreparedTarget>;
  readonly magnitudes?: Magnitudes | undefined;
  readonly keepsUniqueKeys?: boolean | undefined;
}

/** Splits targets into those that can run now, and those that wait for the variable with a server's URL. */
export function availableTargets(
  targets: readonly TestTarget[],
  environment: NodeJS.ProcessEnv,
): { readonly available: AvailableTarget[]; readonly waiting: { readonly name: string; readonly variable: string }[] } {
  const available: AvailableTarget[] = [];
  const waiting: { name: string; variable: string }[] = [];
  for (const { name, url, variable, setting = 'url', prepare, magnitudes, keepsUniqueKeys } of targets) {
    const found = variable === undefined ? url : environment[variable];
    if (found !== undefined && found !== '')
      available.push({
        name,
        url: found,
        setting,
        prepare: async () => prepare?.(found) ?? { url: found, drop: async () => {} },
        magnitudes,
        keepsUniqueKeys,
      });
    else waiting.push({ name, variable: variable ?? '' });
  }
  return { available, waiting };
}
