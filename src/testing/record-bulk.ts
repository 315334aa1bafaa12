/** Changes and questions over many records: what each answers. */
import assert from 'node:assert/strict';
import { defineCollection } from '../collection/definition.js';
import { parseSort } from '../filter/cursor.js';
import { knownFields } from '../filter/fields.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter } from '../filter/syntax.js';
import { collectionOn, contextAt, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

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
      await assert.rejects(all.aggregate({}, { numbers: ['state' as never] }), { code: 'VALIDATION' });
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
        rows.map(({ key, count, numbers: { cost } }) => [key, count, cost.sum, cost.min, cost.max]),
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
      if (backend.aggregate !== undefined) {
        const by = [{ source: 'envelope', path: ['tenant'], type: 'string' }] as const;
        const count = { collection: Jobs.schema, filter, by, numbers: [], limit: 9 };
        const groups = await backend.aggregate('all', count, context);
        assert.deepEqual(
          new Map(groups.map(({ key, count }) => [key[0], count])),
          new Map(tenants.map((tenant) => [tenant, 3])),
        );
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
