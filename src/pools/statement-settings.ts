/** PostgreSQL's settings for one statement: a transaction of its own, which the caller ends with COMMIT. */
import type { Setting } from './pool.js';

export function beginWith(settings: readonly Setting[]): string[] {
  return ['BEGIN', ...settings.map(([name, value]) => `SET LOCAL ${name} = ${value}`)];
}
