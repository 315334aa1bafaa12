/** Changes and questions over many records: the backend's own forms against those derived from the contract. */
import assert from 'node:assert/strict';
import type { AggregateGroup, RecordBackend, Stored } from '../backends/backend.js';
import { aggregateDerived } from '../collection/aggregate.js';
import { defineCollection } from '../collection/definition.js';
import { claimDerived, updateDerived } from '../collection/update.js';
import { parseSort } from '../filter/cursor.js';
import { knownFields } from '../filter/fields.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter } from '../filter/syntax.js';
import { recordArbitraries, Samples } from './record-arbitraries.js';
import { plain, seedOf, type PropertyReport } from './record-properties.js';
import { collectionOn, contextAt, freshTenant, NOW, type OpenRecords } from './record-target.js';
import type { PropertyOptions, TestRunner } from './runner.js';

interface Job {
  readonly state: string;
  readonly rank?: number;
  readonly cost?: number | null;
  readonly note?: string;
}
const Jobs = defineCollection<Job>({
  name: 'suite_jobs',
  fields: { state: 'string', rank: 'number', cost: 'number' },
  indexes: [{ keys: ['state', 'rank'] }],
});

export function describeBulk({ describe, test }: TestRunner, opened: () => OpenRecords): void {
  describe('many records at once', () => {
    const jobs = () => collectionOn(opened().backend, Jobs, freshTenant());

    test('updateWhere changes what matches, once each', async () => {
      const all = jobs();
      await all.load(
        Array.from({ length: 1_203 }, (_, i) => ({ value: { state: i % 3 === 0 ? 'old' : 'new', rank: i } })),
      );
      assert.equal(
        await all.updateWhere({ state: 'old' }, { set: { state: 'new' }, increment: { rank: 10_000 } }),
        401,
      );
      assert.equal(await all.count({ state: 'new' }), 1_203);
      assert.equal(await all.count({ rank: { $gte: 10_000 } }), 401);
      assert.equal(await all.updateWhere({ all: true }, { increment: { rank: 1 } }), 1_203);
      assert.equal(await all.updateWhere({ state: { $in: [] } }, { set: { state: 'x' } }), 0);
      await assert.rejects(all.updateWhere({}, { set: { state: 'x' } }), { code: 'VALIDATION' });
    });

    test('what a change does not fit is left alone', async () => {
      const all = jobs();
      await all.load([{ value: { state: 'a', note: 'text' } }, { value: { state: 'a' } }]);
      assert.equal(await all.updateWhere({ state: 'a' }, { increment: { note: 1 } as never }), 1);
      assert.deepEqual(
        (await all.list()).items.map(({ value }) => value),
        [
          { state: 'a', note: 'text' },
          { state: 'a', note: 1 },
        ],
      );
    });

    test('many claimers take each record once, the first by the sort first', async () => {
      const all = jobs();
      await all.load(Array.from({ length: 60 }, (_, i) => ({ value: { state: 'due', rank: 59 - i } })));
      const first = await all.claim(
        { state: 'due' },
        { set: { state: 'taken' } },
        { sort: { rank: 'asc' }, limit: 10 },
      );
      assert.deepEqual(
        first.map(({ value }) => value.rank).sort((a, b) => a! - b!),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      );
      assert.ok(first.every(({ value, version }) => value.state === 'taken' && version === 2));
      const claimed: string[] = [];
      const work = async (): Promise<void> => {
        for (;;) {
          const taken = await all.claim(
            { state: 'due' },
            { set: { state: 'taken' } },
            { sort: { rank: 'asc' }, limit: 3 },
          );
          if (taken.length === 0) return;
          claimed.push(...taken.map(({ id }) => id));
        }
      };
      await Promise.all(Array.from({ length: 8 }, work));
      // A claimer that found only what others were taking may end early: the rest is there for the next.
      for (const { id } of await all.claim({ state: 'due' }, { set: { state: 'taken' } }, { limit: 60 }))
        claimed.push(id);
      assert.equal(claimed.length, 50);
      assert.equal(new Set(claimed).size, 50);
    });

    test('aggregate counts and sums up by the values of fields', async () => {
      const all = jobs();
      await all.load([
        { value: { state: 'a', cost: 1, rank: 5 } },
        { value: { state: 'a', cost: 3 } },
        { value: { state: 'b', cost: null } },
        { value: { state: 'b', cost: 10, rank: -1 } },
        { value: { state: 'c' } },
      ]);
      const rows = await all.aggregate({}, { by: ['state'], numbers: ['cost', 'rank'] });
      const none = { count: 0, sum: 0 };
      const one = (value: number) => ({ count: 1, sum: value, min: value, max: value, average: value });
      assert.deepEqual(rows, [
        {
          key: { state: 'a' },
          count: 2,
          numbers: { cost: { count: 2, sum: 4, min: 1, max: 3, average: 2 }, rank: one(5) },
        },
        { key: { state: 'b' }, count: 2, numbers: { cost: one(10), rank: one(-1) } },
        { key: { state: 'c' }, count: 1, numbers: { cost: none, rank: none } },
      ]);
      assert.deepEqual(await all.aggregate({ state: 'b' }), [{ key: {}, count: 2, numbers: {} }]);
      assert.deepEqual(await all.aggregate({ state: 'nobody' }, { by: ['state'] }), []);
      await assert.rejects(all.aggregate({}, { by: ['note'] }), { code: 'UNSUPPORTED' });
      await assert.rejects(all.aggregate({}, { numbers: ['state'] }), { code: 'VALIDATION' });
    });
  });
}

const { schema, domain } = Samples;

/** Random filters, changes and groups: the backend's own form does what the derived one does. */
export async function compareBulk(backend: RecordBackend, options: PropertyOptions): Promise<PropertyReport> {
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
      by: fc.subarray(fields, { maxLength: 2 }),
      sort: arbitraries.sort,
      limit: fc.integer({ min: 1, max: 8 }),
    }),
  );
  await backend.ensure([schema], contextAt(NOW));
  await fc.assert(
    fc.asyncProperty(case$, async ({ samples, filter, changes, by, sort, limit }) => {
      const request = { collection: schema, filter: normalize(parseFilter(filter, domain)) };
      // Four tenants with the same records: each form has one for each kind of change.
      const scopes = Array.from({ length: 4 }, () => ({ tenant: freshTenant() }));
      const keys = samples.map((_, i) => ({ collection: schema, id: `r${i}` }));
      for (const scope of scopes) {
        const writes = samples.map(({ value }, i) => ({ ...keys[i]!, kind: 'insert' as const, value }));
        if (writes.length > 0) await backend.write(scope, writes, contextAt(NOW));
      }
      const state = async (i: number): Promise<unknown> =>
        plain((await backend.read(scopes[i]!, keys, contextAt(NOW))).map(withoutTenant));
      const context = contextAt(new Date(NOW.getTime() + 1_000));
      const groups = { ...request, by, numbers, limit: 1_000 };
      const derived = await aggregateDerived(backend, scopes[0]!, groups, context);
      if (backend.aggregate !== undefined)
        assert.deepEqual(
          comparable(await backend.aggregate(scopes[0]!, groups, context)),
          comparable(derived),
          'aggregate',
        );
      const update = { ...request, changes };
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

/** In the order of the keys; sums within the error of another order of addition. */
function comparable(groups: readonly AggregateGroup[]): unknown {
  return groups
    .map(({ key, count, numbers }) => ({
      key: JSON.stringify(key),
      count,
      numbers: numbers.map((summary) => ({ ...summary, sum: Number(summary.sum.toPrecision(10)) })),
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}
