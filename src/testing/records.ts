/**
 * The conformance suite of record backends. `describeRecordBackend` declares its tests with the runner's own functions;
 * a backend that passes answers as the memory backend does.
 */
import assert from 'node:assert/strict';
import { compareQueries, compareWrites } from './record-properties.js';
import { describeBulk } from './record-bulk.js';
import { compareBulk } from './record-bulk-properties.js';
import { describeComponent } from './component.js';
import { describeBounds } from './record-bounds.js';
import { describeBatches } from './record-batches.js';
import { describeCollections } from './record-collections.js';
import { describeQueries } from './record-queries.js';
import { describeFilters } from './record-filters.js';
import { describeLimits } from './record-limits.js';
import { compareLoads, describeLoads } from './record-loads.js';
import { compareUnique } from './record-unique.js';
import { describeMisfits } from './record-misfits.js';
import { describeRemade } from './record-remade.js';
import type { OpenRecords, RecordTarget } from './record-target.js';
import { describeSavepoints } from './record-savepoints.js';
import { describeSweep } from './record-sweep.js';
import { describeTransactions } from './record-transactions.js';
import type { PropertyOptions, TestRunner } from './runner.js';

export function describeRecordBackend(target: RecordTarget, runner: TestRunner, options: PropertyOptions = {}): void {
  const { describe, test, beforeAll, afterAll } = runner;
  describe(`records on ${target.name}`, () => {
    let open: OpenRecords | undefined;
    beforeAll(async () => {
      open = await target.open();
    });
    afterAll(() => open?.close());
    const opened = (): OpenRecords => open!;
    const { magnitudes, keepsUniqueKeys } = target;
    const drawn = { ...options, magnitudes, keepsUniqueKeys };

    describeCollections(runner, opened);
    describeBatches(runner, opened);
    describeRemade(runner, opened);
    describeMisfits(runner, opened);
    describeLimits(runner, opened);
    describeQueries(runner, opened);
    describeFilters(runner, opened);
    describeBulk(runner, opened);
    describeLoads(runner, opened);
    describeTransactions(runner, opened);
    describeSavepoints(runner, opened);
    describeSweep(runner, opened);
    describeBounds(runner, opened);
    describeComponent(runner, async () => {
      const own = await target.open();
      return { component: own.backend, close: () => own.close() };
    });

    describe('against the oracle', () => {
      test('random filters, sorts and cursors', async () => {
        const { cases, nonEmpty } = await compareQueries(opened().backend, drawn);
        assert.ok(nonEmpty > cases / 10, `only ${nonEmpty} of ${cases} cases had an answer`);
      });

      test('random writes, batches, patches and expiry', async () => {
        const { cases, nonEmpty } = await compareWrites(opened().backend, drawn);
        assert.ok(nonEmpty > cases / 10, `only ${nonEmpty} of ${cases} cases wrote something`);
      });

      test('random changes and questions over many records', async () => {
        const { cases, nonEmpty } = await compareBulk(opened().backend, drawn);
        assert.ok(nonEmpty > cases / 10, `only ${nonEmpty} of ${cases} cases matched something`);
      });

      test('random loads, in bulk and the usual way', async () => {
        const { cases, nonEmpty } = await compareLoads(opened().backend, drawn);
        assert.ok(cases === 0 || nonEmpty > cases / 2, `only ${nonEmpty} of ${cases} loads left a record`);
      });

      test('random batches over a unique constraint', async () => {
        const { cases, nonEmpty } = await compareUnique(opened().backend, drawn);
        assert.ok(nonEmpty > cases / 2, `only ${nonEmpty} of ${cases} cases left a record`);
      });
    });
  });
}
