/** The differential test of changes and questions over many records: own forms against those derived from the contract. */
import assert from 'node:assert/strict';
import type { AggregateGroup, NumberSummary, RecordBackend, Stored } from '../backends/backend.js';
import { aggregateDerived } from '../collection/aggregate.js';
import { claimDerived, updateDerived } from '../collection/update.js';
import { parseSort } from '../filter/cursor.js';
import { knownFields } from '../filter/fields.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter } from '../filter/syntax.js';
import { recordArbitraries, Samples } from './record-arbitraries.js';
import { plain, seedOf, type PropertyReport } from './record-properties.js';
import { contextAt, freshTenant, NOW } from './record-target.js';
import type { DrawOptions } from './runner.js';

const { schema, domain } = Samples;
const EARLIER = new Date(NOW.getTime() - 120_000);

/** Random filters, changes and groups: the backend's own form does what the derived one does. */
export async function compareBulk(backend: RecordBackend, options: DrawOptions): Promise<PropertyReport> {
  const fc = await import('fast-check');
  const arbitraries = recordArbitraries(fc, options.magnitudes);
  let cases = 0;
  let nonEmpty = 0;
  const fields = [...knownFields(domain).values()].filter(({ source }) => source === 'value');
  const numbers = fields.filter(({ type }) => type === 'number');
  const case$ = fc.array(arbitraries.sample, { maxLength: 20 }).chain((samples) =>
    fc.record({
      samples: fc.constant(samples),
      filter: arbitraries.filter(samples.map(({ value }) => value)),
      changes: arbitraries.changes,
      expiresIn: fc.option(fc.constantFrom(null, 500, 60_000), { nil: undefined }),
      by: fc.subarray(fields, { maxLength: 3 }),
      sort: arbitraries.sort,
      limit: fc.integer({ min: 1, max: 8 }),
    }),
  );
  await backend.ensure([schema], contextAt(NOW));
  await fc.assert(
    fc.asyncProperty(case$, async ({ samples, filter, changes, expiresIn, by, sort, limit }) => {
      const request = { collection: schema, filter: normalize(parseFilter(filter, domain)) };
      // Four tenants with the same records: each form has one for each kind of change.
      const scopes = Array.from({ length: 4 }, () => ({ tenant: freshTenant() }));
      const keys = samples.map((_, i) => ({ collection: schema, id: `r${i}` }));
      for (const scope of scopes) {
        const writes = samples.map(({ value, expiresIn: ends }, i) => ({
          ...keys[i]!,
          kind: 'insert' as const,
          value,
          ...(ends === undefined ? {} : { expiresAt: new Date(NOW.getTime() + ends) }),
        }));
        if (writes.length > 0) await backend.write(scope, writes, contextAt(EARLIER));
      }
      // As it was seen before anything expired: what had expired by the change must be as it was.
      const state = async (i: number): Promise<unknown> =>
        plain((await backend.read(scopes[i]!, keys, contextAt(EARLIER))).map(withoutTenant));
      const context = contextAt(NOW);
      const groups = { ...request, by, numbers, limit: 1_000 };
      const derived = await aggregateDerived(backend, scopes[0]!, groups, context);
      if (backend.aggregate !== undefined) assertGroups(await backend.aggregate(scopes[0]!, groups, context), derived);
      const expiresAt = typeof expiresIn === 'number' ? new Date(NOW.getTime() + expiresIn) : expiresIn;
      const update = { ...request, changes, ...(expiresAt === undefined ? {} : { expiresAt }) };
      if (backend.updateMany !== undefined) {
        const expected = await updateDerived(backend, scopes[0]!, update, context);
        assert.equal(await backend.updateMany(scopes[1]!, update, context), expected, 'updateMany');
        assert.deepEqual(await state(1), await state(0), 'the state after updateMany');
      }
      const claim = { ...update, sort: parseSort(sort, domain), limit };
      if (backend.claim !== undefined) {
        const expected = await claimDerived(backend, scopes[2]!, claim, context);
        const actual = await backend.claim(scopes[3]!, claim, context);
        assert.deepEqual(
          plain(actual.map(withoutTenant).sort(byId)),
          plain(expected.map(withoutTenant).sort(byId)),
          'claim',
        );
        assert.deepEqual(await state(3), await state(2), 'the state after claim');
      }
      cases++;
      if (derived.length > 0) nonEmpty++;
    }),
    { numRuns: Math.ceil((options.cases ?? 2_000) / 10), ...seedOf(options) },
  );
  return { cases, nonEmpty };
}

type Anonymous = Stored | undefined;
function withoutTenant(record: Anonymous): Stored {
  return { ...record!, tenant: '' };
}

function byId(a: Stored, b: Stored): number {
  return a.id < b.id ? -1 : 1;
}

/** The same groups in any order, their sums within the error of another order of addition. */
function assertGroups(actual: readonly AggregateGroup[], expected: readonly AggregateGroup[]): void {
  const plainly = (groups: readonly AggregateGroup[]): unknown =>
    sorted(groups).map(({ key, count, numbers }) => ({
      key,
      count,
      numbers: numbers.map((summary) => ({ ...summary, sum: 0 })),
    }));
  assert.deepEqual(plainly(actual), plainly(expected), 'aggregate');
  const sums = sorted(actual).flatMap(({ numbers }) => numbers.map(({ sum }) => sum));
  sorted(expected)
    .flatMap(({ numbers }) => numbers)
    .forEach((summary, i) =>
      assert.ok(isSum(sums[i]!, summary), `the sum ${sums[i]!} instead of ${JSON.stringify(summary)}`),
    );
}

function sorted(groups: readonly AggregateGroup[]): AggregateGroup[] {
  const name = ({ key }: AggregateGroup): string => JSON.stringify(key);
  return [...groups].sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

function isSum(actual: number, { count, sum, min = 0, max = 0 }: NumberSummary): boolean {
  const most = count * Math.max(Math.abs(min), Math.abs(max));
  // Beyond the doubles an order of addition decides whether the way there leads over infinity.
  if (most === Infinity) return !Number.isNaN(actual);
  return Math.abs(actual - sum) <= count * (Number.EPSILON * most + Number.MIN_VALUE);
}
