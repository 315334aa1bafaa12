/** The kills in their short form; `npm run test:faults` is the long one. */
import { describe, expect, test } from '@jest/globals';
import { seedOf, wholeNumber } from './environment.js';
import { describeVerdict } from './kills/audit.js';
import { runKills } from './kills/run.js';
import { isHere, killTargets } from './kills/targets.js';

const CHILDREN = 4;
const seed = seedOf();

for (const target of killTargets) {
  if (target.shortForm === undefined) continue;
  const kills = wholeNumber('FAULT_KILLS', target.shortForm);
  const name = `${target.name}: what was acknowledged is there and delivered, and nothing is there in part`;
  if (!isHere(target)) {
    describe.skip('killed writers and relays', () =>
      test(`${name} (waits for a server in ${target.variable})`, () => expect(target.variable).toBeDefined()));
    continue;
  }
  describe('killed writers and relays', () => {
    test(
      name,
      async () => {
        const verdict = await runKills(target, { kills, children: CHILDREN, seed });
        console.log(`${target.name}: ${describeVerdict(verdict)} (FAULT_SEED=${seed})`);
        expect(verdict).toMatchObject({ lost: [], half: [], undelivered: [], disordered: [], contradicted: [] });
        expect(verdict.acknowledged).toBeGreaterThan(0);
      },
      300_000,
    );
  });
}
