/** What the registry says can be tested here, and with which variable. */
import type { TestTarget } from '../component.js';

export interface AvailableTarget {
  readonly name: string;
  readonly url: string;
}

/** Splits targets into those that can run now, and those that wait for the variable with a server's URL. */
export function availableTargets(
  targets: readonly TestTarget[],
  environment: NodeJS.ProcessEnv,
): { readonly available: AvailableTarget[]; readonly waiting: { readonly name: string; readonly variable: string }[] } {
  const available: AvailableTarget[] = [];
  const waiting: { name: string; variable: string }[] = [];
  for (const { name, url, variable } of targets) {
    const found = variable === undefined ? url : environment[variable];
    if (found !== undefined && found !== '') available.push({ name, url: found });
    else waiting.push({ name, variable: variable ?? '' });
  }
  return { available, waiting };
}
