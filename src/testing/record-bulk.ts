/** Changes and questions over many records: the backend's own forms against those derived from the contract. */
import assert from 'node:assert/strict';
import type { AggregateGroup, NumberSummary, RecordBackend, Stored } from '../backends/backend.js';
import { aggregateDerived } from '../collection/aggregate.js';
import { defineCollection } from '../collection/definition.js';
import { claimDerived, updateDerived } from '../collection/update.js';
import { parseSort } from '../filter/cursor.js';
import { knownFields } from '../filter/fields.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter } from '../filter/syntax.js';
import { recordArbitraries, Samples } from './record-arbitraries.js';
import { plain, seedOf, type PropertyReport } from './record-properties.js';
import { collectionOn, contextAt, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import type { PropertyOptions, TestRunner } from './runner.js';

interface Job {
  readonly state: string;
  readonly rank?: number;
  readonly cost?: number | null;
  readonly urgent?: boolean;
  readonly due?: Date;
  readonly note?: string;
}
const Jobs = defineCollection<Job>({
  name: 'suite_jobs',
  fields: { state: 'string', rank: 'number', cost: 'number', urgent: 'boolean', due: 'date' },
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

    test('aggregate groups by fields of every type, and sums beyond the doubles to infinity', async () => {
      const all = jobs();
      const due = new Date('2026-01-01T00:00:00.000Z');
      const largest = Number.MAX_VALUE;
      await all.load([
        { value: { state: 'é', urgent: true, due, cost: largest } },
        { value: { state: 'é', urgent: true, due, cost: largest } },
        { value: { state: 'e\u0301', urgent: false, due, cost: -largest } },
        { value: { state: 'e\u0301', urgent: false, due, cost: largest } },
        { value: { state: '', cost: 2 ** 60 + 256 } },
      ]);
      const rows = await all.aggregate({}, { by: ['state', 'urgent', 'due'], numbers: ['cost'] });
      assert.deepEqual(
        rows.map(({ key, count, numbers: { cost } }) => [key, count, cost!.sum, cost!.min, cost!.max]),
        [
          [{ state: '', urgent: null, due: null }, 1, 2 ** 60 + 256, 2 ** 60 + 256, 2 ** 60 + 256],
          [{ state: 'e\u0301', urgent: false, due }, 2, 0, -largest, largest],
          [{ state: 'é', urgent: true, due }, 2, Infinity, largest, largest],
        ],
      );
      const ranks = await all.aggregate({}, { by: ['rank', 'urgent'] });
      assert.deepEqual(
        ranks.map(({ key, count }) => [key, count]),
        [
          [{ rank: null, urgent: null }, 1],
          [{ rank: null, urgent: false }, 2],
          [{ rank: null, urgent: true }, 2],
        ],
      );
    });

    test('a time to live is set, kept and removed, and what has expired is left alone', async () => {
      const clock = new WallClock(NOW);
      const all = collectionOn(opened().backend, Jobs, freshTenant(), clock);
      const live = await all.insert({ state: 'a' }, { ttl: 10_000 });
      const short = await all.insert({ state: 'a' }, { ttl: 1_000 });
      clock.time = new Date(NOW.getTime() + 1_000);
      const later = new Date(NOW.getTime() + 6_000);
      assert.equal(await all.updateWhere({ state: 'a' }, { set: { note: 'kept' } }), 1);
      assert.deepEqual((await all.get(live.id)).expiresAt, new Date(NOW.getTime() + 10_000));
      assert.equal(await all.updateWhere({ state: 'a' }, { set: { note: 'set' } }, { ttl: 5_000 }), 1);
      assert.deepEqual((await all.get(live.id)).expiresAt, later);
      const [taken] = await all.claim({ state: 'a' }, { set: { state: 'b' } }, { ttl: null, limit: 9 });
      const { expiresAt, version, updatedAt, value } = taken!;
      assert.deepEqual([expiresAt, version, updatedAt], [undefined, 4, clock.time]);
      assert.deepEqual(value, { state: 'b', note: 'set' });
      assert.deepEqual(
        (await all.aggregate({}, { by: ['state'] })).map(({ key, count }) => [key, count]),
        [[{ state: 'b' }, 1]],
      );
      assert.equal(await all.find(short.id), undefined);
    });

    test('a claim passes over what the changes do not fit, however many those are', async () => {
      const all = jobs();
      const texts = Array.from({ length: 40 }, (_, rank) => ({ value: { state: 'due', rank, note: 'text' } }));
      await all.load([...texts, { value: { state: 'due', rank: 99 } }, { value: { state: 'due', rank: 98 } }]);
      const increment = { increment: { note: 1 } as never };
      const taken = await all.claim({ state: 'due' }, increment, { sort: { rank: 'asc' }, limit: 1 });
      assert.deepEqual(
        taken.map(({ value }) => value.rank),
        [98],
      );
    });

    test("an own form serves every tenant's records at once", async () => {
      const { backend } = opened();
      const state = freshTenant();
      const tenants = [freshTenant(), freshTenant()];
      for (const tenant of tenants)
        await collectionOn(backend, Jobs, tenant).load(
          [3, 1, 2].map((rank) => ({ id: `j${rank}`, value: { state, rank } })),
        );
      const context = contextAt(new Date());
      const filter = normalize(parseFilter({ state }, Jobs.domain));
      const request = { collection: Jobs.schema, filter, changes: { increment: { rank: 10 } } };
      if (backend.updateMany !== undefined) {
        assert.equal(await backend.updateMany('all', request, context), 6);
        const ranks = { by: [], numbers: [knownFields(Jobs.domain).get('rank')!], limit: 9 };
        if (backend.aggregate !== undefined)
          assert.deepEqual(await backend.aggregate('all', { collection: Jobs.schema, filter, ...ranks }, context), [
            { key: [], count: 6, numbers: [{ count: 6, sum: 72, min: 11, max: 13 }] },
          ]);
      }
      if (backend.claim !== undefined) {
        const sort = parseSort({ rank: 'asc' }, Jobs.domain);
        const take = { ...request, changes: { set: { state: `${state} taken` } }, sort, limit: 3 };
        const first = await backend.claim('all', take, context);
        assert.deepEqual(first.map(({ id }) => id).sort(), ['j1', 'j1', 'j2']);
        assert.deepEqual(
          first
            .filter(({ id }) => id === 'j1')
            .map(({ tenant }) => tenant)
            .sort(),
          [...tenants].sort(),
        );
        assert.equal((await backend.claim('all', { ...take, limit: 9 }, context)).length, 3);
      }
    });
  });
}

const { schema, domain } = Samples;
const EARLIER = new Date(NOW.getTime() - 120_000);

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
