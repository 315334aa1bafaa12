/** Records at the border of what is allowed: kept and found there, refused beyond it before anything is written. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { defineCollection } from '../collection/definition.js';
import { refusedWith } from './record-orders.js';
import { collectionOn, freshTenant, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

type Item = Record<string, unknown>;

const Items = defineCollection<Item>({ name: 'test_edge_items', fields: { n: 'number' }, id: 'given' });

/** As long as one field of an index can be: the rest of its 2,600 bytes is for the tenant and the id. */
const LONGEST = 2_090;
const Long = defineCollection<Item>({
  name: 'test_edge_long',
  fields: { a: { type: 'string', maxBytes: LONGEST } },
  indexes: [{ keys: ['a'] }],
  unique: [{ name: 'byA', fields: ['a'] }],
  id: 'given',
});

const FOUR = ['a', 'b', 'c', 'd'];
const Four = defineCollection<Item>({
  name: 'test_edge_four',
  fields: { a: 'string', b: 'string', c: 'string', d: 'string' },
  indexes: [{ keys: FOUR }, { keys: FOUR, scope: 'all' }],
  unique: [{ name: 'byAll', fields: FOUR }],
  id: 'given',
});

/** A text of so many bytes that no compression makes shorter. */
function noise(bytes: number, seed: string): string {
  let text = '';
  while (text.length < bytes) text += createHash('sha512').update(seed).update(text).digest('base64url');
  return text.slice(0, bytes);
}

export function describeLimits({ describe, test }: TestRunner, target: () => OpenRecords): void {
  const refused = (work: Promise<unknown>): Promise<void> => assert.rejects(work, refusedWith('VALIDATION'));

  describe('limits', () => {
    test('zero has no sign', async () => {
      const items = collectionOn(target().backend, Items, freshTenant());
      await items.save({ n: -0, deep: { list: [-0] } }, { id: 'saved' });
      await items.save({ n: 5, list: [], counted: 1 }, { id: 'patched' });
      await items.patch('patched', {
        set: { n: -0, 'deep.list': [-0] },
        push: { list: -0 },
        increment: { counted: -1, absent: -0 },
      });
      // Which tells 0 from -0.
      assert.deepEqual((await items.get('saved')).value, { n: 0, deep: { list: [0] } });
      const patched = { n: 0, deep: { list: [0] }, list: [0], counted: 0, absent: 0 };
      assert.deepEqual((await items.get('patched')).value, patched);
    });

    test('a key is at most 1,024 bytes of well-formed text', async () => {
      const items = collectionOn(target().backend, Items, freshTenant());
      const value = { ['x'.repeat(1_024)]: 1, ['é'.repeat(512)]: { ['😀'.repeat(256)]: 2 }, '': 3 };
      await items.save(value, { id: 'a' });
      assert.deepEqual((await items.get('a')).value, value);
      for (const key of ['x'.repeat(1_025), 'é'.repeat(513), 'a\0', '\ud800', 'a\udc00']) {
        await refused(items.save({ [key]: 1 }, { id: 'b' }));
        await refused(items.save({ list: [{ [key]: 1 }] }, { id: 'b' }));
        await refused(items.patch('a', { set: { deep: { [key]: 1 } } }));
      }
      assert.deepEqual(
        (await items.list()).items.map((record) => [record.id, record.version]),
        [['a', 1]],
      );
    });

    test('an id has 255 bytes, of which fewer characters may be', async () => {
      const items = collectionOn(target().backend, Items, freshTenant());
      const id = `${'é'.repeat(127)}x`;
      await items.insert({ n: 1 }, { id });
      assert.equal((await items.get(id)).value['n'], 1);
      for (const long of [`${id}x`, 'é'.repeat(128), '😀'.repeat(64)])
        await refused(items.insert({ n: 1 }, { id: long }));
      assert.equal(await items.count(), 1);
    });

    test('what is indexed and unique may be as long as a declaration lets it', async () => {
      const tenant = `${freshTenant()}-${noise(255, 'tenant')}`.slice(0, 255);
      const ids = ['0', '1'].map((seed) => `${seed}${noise(254, seed)}`);
      for (const [definition, fields, bytes] of [
        [Long, ['a'], LONGEST],
        [Four, FOUR, 512],
      ] as const) {
        const records = collectionOn(target().backend, definition, tenant);
        const [first, second] = ids.map((id) => Object.fromEntries(fields.map((f) => [f, noise(bytes, id + f)])));
        await records.insert(first!, { id: ids[0]! });
        await records.save(second!, { id: ids[1]! });
        await assert.rejects(records.save(first!, { id: ids[1]! }), refusedWith('ALREADY_EXISTS'));
        for (const [i, value] of [first!, second!].entries()) {
          const { items } = await records.query(value, { sort: { a: 'asc' } });
          assert.deepEqual(
            items.map((record) => [record.id, record.value]),
            [[ids[i], value]],
          );
        }
        await refused(records.save({ ...first, a: 'x'.repeat(bytes + 1) }, { id: 'long' }));
        await refused(records.save({ ...first, a: 'é'.repeat(bytes / 2 + 1) }, { id: 'long' }));
        assert.equal(await records.count(), 2);
      }
    });
  });
}
