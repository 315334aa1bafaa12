/** A record that was deleted and made anew is another one, though its version may be the same. */
import assert from 'node:assert/strict';
import type { SameRecord, Write } from '../backends/backend.js';
import { Orders, refusedWith } from './record-orders.js';
import { collectionOn, contextAt, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

const LATER = new Date(NOW.getTime() + 1);

export function describeRemade(runner: TestRunner, target: () => OpenRecords): void {
  const { describe, test } = runner;

  describe('records made anew', () => {
    test('an update of what was there before is made of what is there now', async () => {
      const clock = new WallClock(NOW);
      const all = collectionOn(target().backend, Orders, freshTenant(), clock);
      await all.insert({ status: 'old' }, { id: 'o' });
      const seen: string[] = [];
      const { value } = await all.update('o', async (found) => {
        seen.push(found.status);
        if (seen.length === 1) {
          clock.time = LATER;
          await all.delete('o');
          await all.insert({ status: 'new', note: 'of somebody else' }, { id: 'o' });
        }
        return { ...found, total: 1 };
      });
      assert.deepEqual(seen, ['old', 'new']);
      assert.deepEqual(value, { status: 'new', note: 'of somebody else', total: 1 });
    });

    test('an update for a version is refused, and not made of what is there now', async () => {
      const clock = new WallClock(NOW);
      const all = collectionOn(target().backend, Orders, freshTenant(), clock);
      await all.insert({ status: 'old' }, { id: 'o' });
      const change = async (found: { readonly status: string }): Promise<{ status: string; total: number }> => {
        clock.time = LATER;
        await all.delete('o');
        await all.insert({ status: 'new' }, { id: 'o' });
        return { ...found, total: 1 };
      };
      await assert.rejects(all.update('o', change, { ifVersion: 1 }), refusedWith('CONFLICT'));
      assert.deepEqual((await all.get('o')).value, { status: 'new' });
    });

    test('a write for a version is not one for the same version of another record', async () => {
      const { backend } = target();
      const tenant = freshTenant();
      const all = collectionOn(backend, Orders, tenant, new WallClock(NOW));
      for (const id of ['a', 'b']) await all.insert({ status: 'here' }, { id });
      const key = (id: string) => ({ collection: Orders.schema, id });
      const replace = (id: string, same: SameRecord): Write => ({
        ...key(id),
        kind: 'replace',
        value: { status: 'x' },
        ...same,
      });
      const remove = (id: string, same: SameRecord): Write => ({ ...key(id), kind: 'delete', ...same });
      const write = async (...writes: Write[]): Promise<string[]> =>
        (await backend.write({ tenant }, writes, contextAt(LATER))).map(({ status }) => status);
      const [before, own] = [LATER, NOW].map((ifCreatedAt) => ({ ifVersion: 1, ifCreatedAt }));
      assert.deepEqual(await write(replace('a', before!)), ['conflict']);
      assert.deepEqual(await write(remove('a', before!)), ['conflict']);
      assert.equal(await all.count({ status: 'here' }), 2);
      assert.deepEqual(await write(replace('a', own!)), ['written']);
      assert.deepEqual(await write(remove('a', { ...own!, ifVersion: 2 })), ['deleted']);
      if (backend.capabilities.batch !== 'atomic') return;
      await all.insert({ status: 'here' }, { id: 'c' });
      assert.deepEqual(await write(replace('b', own!), replace('c', before!)), ['skipped', 'conflict']);
      assert.deepEqual(await write(remove('b', own!), remove('c', before!)), ['skipped', 'conflict']);
      assert.deepEqual(await write(replace('b', own!), replace('c', { ifVersion: 1 })), ['written', 'written']);
      assert.deepEqual(await write(remove('b', { ifVersion: 2 }), remove('c', { ...own!, ifVersion: 2 })), [
        'deleted',
        'deleted',
      ]);
    });

    test('a delete whose record is not asked for is refused as any other', async () => {
      const { backend } = target();
      const tenant = freshTenant();
      const all = collectionOn(backend, Orders, tenant, new WallClock(NOW));
      for (const id of ['a', 'b', 'c', 'd']) await all.insert({ status: id }, { id });
      const remove = (id: string, more: object = {}): Write => ({
        ...{ collection: Orders.schema, id, kind: 'delete', returns: false },
        ...more,
      });
      const write = (...writes: Write[]) => backend.write({ tenant }, writes, contextAt(LATER));
      const statuses = async (...writes: Write[]) => (await write(...writes)).map(({ status }) => status);
      assert.deepEqual(await statuses(remove('a', { ifVersion: 2 })), ['conflict']);
      assert.deepEqual(await statuses(remove('a', { ifVersion: 1 })), ['deleted']);
      assert.deepEqual(await statuses(remove('a')), ['missing']);
      if (backend.capabilities.batch !== 'atomic') return;
      assert.deepEqual(await statuses(remove('b'), remove('a')), ['skipped', 'missing']);
      assert.deepEqual(await statuses(remove('b'), remove('c')), ['deleted', 'deleted']);
      await all.insert({ status: 'b' }, { id: 'b' });
      const [quiet, told] = await write(remove('b'), { collection: Orders.schema, id: 'd', kind: 'delete' });
      assert.equal(quiet?.status, 'deleted');
      assert.deepEqual(told?.status === 'deleted' ? told.record?.value : undefined, { status: 'd' });
      assert.equal(await all.count(), 0);
    });

    test('a patch of what was created at a time is refused for what is there now, whose version fits', async () => {
      const clock = new WallClock(NOW);
      const all = collectionOn(target().backend, Orders, freshTenant(), clock);
      const { createdAt, version } = await all.insert({ status: 'old' }, { id: 'o' });
      await all.delete('o');
      clock.time = LATER;
      const anew = await all.insert({ status: 'new' }, { id: 'o' });
      const changes = { set: { total: 1 } };
      for (const options of [{ if: { createdAt } }, { if: { createdAt }, ifVersion: version }])
        await assert.rejects(all.patch('o', changes, options), refusedWith('CONFLICT'));
      assert.deepEqual(await all.get('o'), anew);
      assert.equal((await all.patch('o', changes, { if: { createdAt: LATER }, ifVersion: version })).version, 2);
    });

    test('no patch makes a record too large, also not of searched text', async () => {
      const all = collectionOn(target().backend, Orders, freshTenant());
      const kept = await all.save({ status: 'open' }, { id: 'o' });
      const half = 'ab '.repeat(400_000);
      for (const field of ['note', 'code', 'nested.text'])
        await assert.rejects(all.patch('o', { set: { [field]: `${half}${half}` } }), refusedWith('VALIDATION'), field);
      const both = { set: { 'nested.a': half, 'nested.b': half } } as never;
      await assert.rejects(all.patch('o', both), refusedWith('VALIDATION'));
      await assert.rejects(all.updateWhere({ status: 'open' }, both), refusedWith('VALIDATION'));
      assert.deepEqual(await all.get('o'), kept);
      assert.equal((await all.patch('o', { set: { note: half } })).value.note, half);
      await assert.rejects(all.patch('o', { push: { tags: half } }), refusedWith('VALIDATION'));
      await assert.rejects(
        all.patch('o', { set: { note: 'short', 'nested.a': half } as never, push: { tags: half } }),
        refusedWith('VALIDATION'),
      );
      assert.equal((await all.get('o')).value.note, half);
    });

    test('a change of many paths is refused before it is sent', async () => {
      const all = collectionOn(target().backend, Orders, freshTenant());
      await all.insert({ status: 's' }, { id: 'o' });
      const paths = (count: number) => ({
        set: Object.fromEntries(Array.from({ length: count }, (_, i) => [`nested.k${i}`, i])),
      });
      await assert.rejects(all.patch('o', paths(1_001)), refusedWith('VALIDATION'));
      assert.equal((await all.patch('o', paths(1_000))).version, 2);
    });
  });
}
