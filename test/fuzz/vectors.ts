/** The property of filters over metadata, over every provider. */
import type { PropertyOptions } from '../../src/testing/index.js';
import { compareFilters } from '../../src/testing/vector-properties.js';
import { VectorFixture } from '../../src/testing/vector-target.js';
import { vectorTargets } from '../support/vector-targets.js';
import type { Tally } from './tally.js';

export async function fuzzVectors(
  options: PropertyOptions,
  isAsked: (target: string) => boolean,
  tally: Tally,
): Promise<void> {
  const { available, waiting } = await vectorTargets();
  for (const { name, variable } of waiting) console.log(`${name}: not run, it waits for a server in ${variable}`);
  for (const target of available) {
    if (!isAsked(target.name)) continue;
    const fixture = new VectorFixture(target, await target.open());
    await tally.run(target.name, () => compareFilters(fixture, options));
    await fixture.close();
  }
}
