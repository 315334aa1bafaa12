/** Records that a process with an earlier declaration has written, met in an order by fields it did not have. */
import assert from 'node:assert/strict';
import { defineCollection } from '../collection/definition.js';
import { collectionOn, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

type Item = Record<string, unknown>;

const name = 'test_misfits';
const Before = defineCollection<Item>({ name, id: 'given' });
const After = defineCollection<Item>({
  name,
  id: 'given',
  fields: { n: 'number', s: 'string', b: 'boolean', d: 'date', 'deep.n': 'number' },
  indexes: [{ keys: ['n'] }, { keys: ['s', ['n', 'desc']] }],
});

const Unkeyed = defineCollection<Item>({ name: 'test_late_keys', id: 'given' });
const Keyed = defineCollection<Item>({
  name: 'test_late_keys',
  id: 'given',
  fields: { e: 'string' },
  unique: [{ name: 'byE', fields: ['e'] }],
});

const MISFITS = ['text', -7, 5, true, [3], [], ['x', 2], { n: 4 }, [{ n: 3 }]];
/** Under each field two records that fit, two without a value, and all that do not fit; no text is a misfit, also no time. */
const FIELDS = {
  n: [1, 4],
  s: ['a', 'z'],
  b: [false, true],
  d: ['2026-01-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
  deep: [{ n: 1 }, { n: 4 }],
} as const;

export function describeMisfits(runner: TestRunner, target: () => OpenRecords): void {
  const { describe, test } = runner;

  describe('records of an earlier declaration', () => {
    for (const [field, [low, high]] of Object.entries(FIELDS))
      test(`an order by ${field} meets each record that fits it once, and ends`, async () => {
        const tenant = freshTenant();
        const before = collectionOn(target().backend, Before, tenant);
        const after = collectionOn(target().backend, After, tenant);
        await after.count();
        const fitting = { b_low: { [field]: low }, c_high: { [field]: high }, d_none: {}, x_null: { [field]: null } };
        for (const [id, value] of Object.entries(fitting)) await before.save(value, { id });
        const odd = MISFITS.filter(
          (value) => field === 'd' || typeof value !== typeof low || typeof value === 'object',
        ).map((value, i) => ({ id: `${'ay'[i % 2]!}${i}`, value: { [field]: value } }));
        for (const { id, value } of odd) await before.save(value, { id });
        const key = field === 'deep' ? 'deep.n' : field;
        for (const direction of ['asc', 'desc'] as const)
          for (const limit of [1, 2, 3, 5, 8]) {
            const sort = { [key]: direction };
            const ids: string[] = [];
            let cursor: string | undefined;
            for (let pages = 0; pages < 20; pages++) {
              const page = await after.list({ sort, limit, after: cursor });
              ids.push(...page.items.map(({ id }) => id));
              cursor = page.next;
              if (cursor === undefined) break;
            }
            assert.equal(cursor, undefined, `pages of ${limit}, ${direction}, do not end: ${ids.join(' ')}`);
            assert.equal(new Set(ids).size, ids.length, ids.join(' '));
            const expected = ['d_none', 'x_null', 'b_low', 'c_high'];
            assert.deepEqual(
              ids.filter((id) => id in fitting),
              direction === 'asc' ? expected : expected.toReversed(),
            );
          }
      });

    test('what has expired holds no key of a constraint that only later processes know', async () => {
      const { backend } = target();
      const tenant = freshTenant();
      const clock = new WallClock(NOW);
      const before = collectionOn(backend, Unkeyed, tenant, clock);
      await collectionOn(backend, Keyed, tenant, clock).count();
      const pass = (): void => void (clock.time = new Date(clock.time.getTime() + 20));
      await before.insert({ e: 'x' }, { id: '1', ttl: 10 });
      pass();
      await before.insert({ e: 'x' }, { id: '2', ttl: 10 });
      pass();
      await before.save({ e: 'x' }, { id: '3', ttl: 10 });
      pass();
      await before.save({ other: 1 }, { id: '4' });
      await before.patch('4', { set: { e: 'x' } });
      await before.save({ e: 'y' }, { id: '5', ttl: 10 });
      pass();
      if (backend.capabilities.batch === 'atomic')
        await before.saveMany(['6', '7'].map((id) => ({ id, value: { e: id === '6' ? 'y' : 'z' } })));
      const ids = (await before.list()).items.map(({ id }) => id);
      assert.deepEqual(ids, backend.capabilities.batch === 'atomic' ? ['4', '6', '7'] : ['4']);
    });
  });
}
