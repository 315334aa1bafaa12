/** Which SQLite libraries this machine has: the tests of one that is not there are skipped, and say why. */
import { describe, expect, test } from '@jest/globals';
import { isStorageError } from '../../../src/errors.js';
import { ENGINES, type EngineName } from '../../../src/pools/sqlite/engine.js';
import { loadEngine } from '../../../src/pools/sqlite/engines.js';

/** By their names, what the loading of those said that are not there. */
const missing = new Map<EngineName, string>();
for (const engine of ENGINES)
  await loadEngine(engine, 'main').catch((error: unknown) => {
    if (!isStorageError(error)) throw error;
    missing.set(engine, error.message);
  });

/** Why an example or a test that needs `engine` cannot run here; `undefined`: it can. */
export const whyMissing = (engine: EngineName): string | undefined => missing.get(engine);

/** A file that is closed is left by the others at once; by this one when its statements are collected (docs/backends.md). */
export const leavesAtOnce = ENGINES.find((engine) => !missing.has(engine)) !== '@photostructure/sqlite';

/** `tests` with `engine`, or the reason why it is skipped. */
export function describeEngine(name: string, engine: EngineName, tests: () => void): void {
  const reason = missing.get(engine);
  if (reason === undefined) return describe(name, tests);
  // `.ci/run` runs an engine that this Node does not have on another Node.
  if (engine === process.env['TESTED_ELSEWHERE']) return;
  describe.skip(`${name}: ${reason}`, () =>
    test('waits for the library', () => expect(missing.get(engine)).toBeUndefined()));
}
