/**
 * The conformance suite of vector providers. `describeVectorProvider` declares its tests with the runner's own functions;
 * a provider that passes answers as the memory provider does, or refuses what its capabilities say it has not.
 */
import assert from 'node:assert/strict';
import type { PropertyOptions, TestRunner } from './runner.js';
import { describeComponent } from './component.js';
import { describeVectorBounds } from './vector-bounds.js';
import { describeVectorCollections } from './vector-collections.js';
import { describeVectorDeletion } from './vector-deletion.js';
import { describeVectorFilters } from './vector-filters.js';
import { describeVectorLoad } from './vector-load.js';
import { compareFilters } from './vector-properties.js';
import { describeVectorRecords } from './vector-records.js';
import { describeVectorSearch } from './vector-search.js';
import { describeVectorSparse } from './vector-sparse.js';
import { VectorFixture, type VectorTarget } from './vector-target.js';
import { describeVectorText } from './vector-text.js';
import { describeVectorTransactions } from './vector-transactions.js';

export function describeVectorProvider(target: VectorTarget, runner: TestRunner, options: PropertyOptions = {}): void {
  const { describe, test, beforeAll, afterAll } = runner;
  describe(`vectors on ${target.name}`, () => {
    let open: VectorFixture | undefined;
    beforeAll(async () => {
      open = new VectorFixture(target, await target.open());
    });
    afterAll(() => open?.close());
    const fixture = (): VectorFixture => open!;

    describeVectorCollections(runner, fixture);
    describeVectorRecords(runner, fixture);
    describeVectorLoad(runner, fixture);
    describeVectorDeletion(runner, fixture);
    describeVectorSearch(runner, fixture);
    describeVectorFilters(runner, fixture);
    describeVectorText(runner, fixture);
    describeVectorSparse(runner, fixture);
    describeVectorTransactions(runner, fixture);
    describeVectorBounds(runner, fixture);
    describeComponent(runner, async () => {
      const own = await target.open();
      return { component: own.provider, close: () => own.close() };
    });

    describe('against the oracle', () => {
      test('random records and filters: the same set, the same scores', async () => {
        const { cases, nonEmpty } = await compareFilters(fixture(), options);
        assert.ok(nonEmpty > cases / 10, `only ${nonEmpty} of ${cases} cases had an answer`);
      });
    });
  });
}
