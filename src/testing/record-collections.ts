/** What a collection promises, whatever keeps it. */
import assert from 'node:assert/strict';
import { isStorageError } from '../errors.js';
import { defineCollection } from '../collection/definition.js';
import { collectionOn, freshTenant, NOW, WallClock, type OpenRecords } from './record-target.js';
import { Orders, refusedWith, type Order } from './record-orders.js';
import type { TestRunner } from './runner.js';

const Invoices = defineCollection<{ total: number }>({
  name: 'test_invoices',
  fields: { total: 'number' },
  id: 'sequence',
});

const Meetings = defineCollection<{ time: { begin?: Date; more?: { end: Date } } }>({
  name: 'test_meetings',
  fields: { 'time.begin': 'date', 'time.more.end': 'date' },
});

export function describeCollections(runner: TestRunner, target: () => OpenRecords): void {
  const { describe, test } = runner;
  const orders = (clock?: WallClock) => collectionOn(target().backend, Orders, freshTenant(), clock);

  describe('collections', () => {
    test('a record comes back as it was saved, with its envelope', async () => {
      const clock = new WallClock(NOW);
      const all = orders(clock);
      const value = {
        status: 'open',
        total: 1.5,
        dueAt: new Date(5),
        note: "it's",
        tags: ['a', ''],
        nested: { deep: {} },
      };
      const saved = await all.save(value);
      assert.deepEqual(saved, { id: saved.id, version: 1, createdAt: NOW, updatedAt: NOW, value });
      assert.deepEqual(await all.get(saved.id), saved);
      assert.match(saved.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    });

    test('a key with a dot in it is no declared path', async () => {
      const meetings = collectionOn(target().backend, Meetings, freshTenant());
      const at = new Date(5);
      const flat = { 'time.begin': at } as never;
      for (const value of [flat, { time: { begin: at }, more: [flat] }, { time: flat }])
        await assert.rejects(meetings.save(value), refusedWith('VALIDATION'));
      const { id } = await meetings.save({ time: { begin: at }, 'time.begin': 'noon' } as never);
      assert.deepEqual((await meetings.get(id)).value, { time: { begin: at }, 'time.begin': 'noon' });
      await assert.rejects(
        meetings.patch(id, { set: { time: { 'more.end': at } as never } }),
        refusedWith('VALIDATION'),
      );
      const changed = await meetings.patch(id, { set: { time: { more: { end: at } } } });
      assert.deepEqual(changed.value.time, { more: { end: at } });
    });

    test('what comes back are copies', async () => {
      const all = orders();
      const value = { status: 'open', tags: ['a'] };
      const saved = await all.save(value);
      value.tags.push('b');
      saved.value.tags?.push('c');
      (await all.get(saved.id)).value.tags?.push('d');
      const [one, two] = await all.getMany([saved.id, saved.id]);
      one?.value.tags?.push('e');
      assert.deepEqual(two?.value.tags, ['a']);
      (await all.get(saved.id)).createdAt.setTime(0);
      assert.notEqual((await all.get(saved.id)).createdAt.getTime(), 0);
      assert.deepEqual((await all.get(saved.id)).value.tags, ['a']);
    });

    test('versions grow by one, and createdAt stays', async () => {
      const clock = new WallClock(NOW);
      const all = orders(clock);
      const { id } = await all.save({ status: 'open' });
      clock.time = new Date(NOW.getTime() + 1_000);
      const second = await all.save({ status: 'paid' }, { id });
      assert.deepEqual([second.version, second.createdAt, second.updatedAt], [2, NOW, clock.time]);
      const third = await all.replace(id, { status: 'sent' }, { ifVersion: 2 });
      assert.equal(third.version, 3);
      await assert.rejects(all.replace(id, { status: 'lost' }, { ifVersion: 2 }), refusedWith('CONFLICT'));
      await assert.rejects(all.save({ status: 'lost' }, { id, ifVersion: 1 }), refusedWith('CONFLICT'));
      assert.equal((await all.get(id)).value.status, 'sent');
    });

    test('insert refuses an id that is there; replace, delete and get what is not', async () => {
      const all = orders();
      await all.insert({ status: 'open' }, { id: 'o1' });
      await assert.rejects(all.insert({ status: 'again' }, { id: 'o1' }), refusedWith('ALREADY_EXISTS'));
      await assert.rejects(all.replace('o2', { status: 'x' }), refusedWith('NOT_FOUND'));
      await assert.rejects(all.get('o2'), refusedWith('NOT_FOUND'));
      await assert.rejects(all.delete('o2'), refusedWith('NOT_FOUND'));
      await assert.rejects(
        all.update('o2', (v) => v),
        refusedWith('NOT_FOUND'),
      );
      assert.equal(await all.find('o2'), undefined);
      assert.deepEqual(await all.getMany(['o2', 'o1']).then((found) => found.map((r) => r?.id)), [undefined, 'o1']);
    });

    test('delete gives the record, and only the version asked for', async () => {
      const all = orders();
      const saved = await all.save({ status: 'open' });
      await assert.rejects(all.delete(saved.id, { ifVersion: 7 }), refusedWith('CONFLICT'));
      assert.deepEqual(await all.delete(saved.id, { ifVersion: 1 }), saved);
      assert.equal(await all.has(saved.id), false);
    });

    test('ids that are SQL, quotes, operators or any other text are data', async () => {
      const all = orders();
      const ids = ["'; drop table orders; --", '$where', '__proto__', 'a.b', '%', 'ключ', '😀', '0', 'null', '{"a":1}'];
      for (const id of ids) await all.insert({ status: id }, { id });
      for (const id of ids) assert.equal((await all.get(id)).value.status, id);
      assert.equal(await all.count(), ids.length);
    });

    test('tenants never meet', async () => {
      const [a, b] = [freshTenant(), `${freshTenant()}%`].map((tenant) =>
        collectionOn(target().backend, Orders, tenant),
      );
      await a!.insert({ status: 'mine', code: 'c' }, { id: 'same' });
      await b!.insert({ status: 'yours', code: 'c' }, { id: 'same' });
      assert.equal((await a!.get('same')).value.status, 'mine');
      assert.equal(await a!.count({ status: 'yours' }), 0);
      assert.equal(await b!.deleteWhere({ all: true }), 1);
      assert.equal(await a!.count(), 1);
    });

    test('update reads, changes and tries again; it keeps the TTL', async () => {
      const all = orders(new WallClock(NOW));
      await all.save({ status: 'open', total: 0 }, { id: 'o', ttl: 60_000 });
      await Promise.all(Array.from({ length: 5 }, () => all.update('o', (v) => ({ ...v, total: (v.total ?? 0) + 1 }))));
      const { value, version, expiresAt } = await all.get('o');
      assert.deepEqual([value.total, version, expiresAt], [5, 6, new Date(NOW.getTime() + 60_000)]);
    });

    test('update of one version is refused where the record has another, before its function is called', async () => {
      const all = orders();
      await all.save({ status: 'open', total: 0 }, { id: 'o' });
      assert.equal((await all.update('o', (v) => ({ ...v, total: 1 }), { ifVersion: 1 })).version, 2);
      let called = 0;
      const change = (v: Order): Order => ({ ...v, total: ++called });
      await assert.rejects(all.update('o', change, { ifVersion: 1 }), refusedWith('CONFLICT'));
      assert.equal(called, 0);
      // Somebody is faster while its function runs: it is not run again on what it was not asked for.
      const overtaken = all.update('o', async (v) => (await all.patch('o', { set: { total: 7 } }), change(v)), {
        ifVersion: 2,
      });
      await assert.rejects(overtaken, refusedWith('CONFLICT'));
      assert.deepEqual([called, (await all.get('o')).value.total], [1, 7]);
    });

    test('increments by many are all counted, the first one too', async () => {
      const all = orders();
      const sums = await Promise.all(
        Array.from({ length: 40 }, () =>
          all.increment('counter', 'total', 1, { orInsert: { status: 'new', total: 0 } }),
        ),
      );
      assert.deepEqual(
        sums.sort((x, y) => x - y),
        Array.from({ length: 40 }, (_, i) => i + 1),
      );
    });

    test('patch changes parts in one step, under its condition', async () => {
      const all = orders();
      await all.save({ status: 'open', total: 1, tags: ['a'] }, { id: 'o' });
      const patched = await all.patch('o', {
        set: { status: 'paid', 'nested.deep.count': 1, dueAt: new Date(7) },
        unset: ['code'],
        increment: { total: 2 },
        push: { tags: 'b' },
      });
      const value = { status: 'paid', total: 3, tags: ['a', 'b'], dueAt: new Date(7), nested: { deep: { count: 1 } } };
      assert.deepEqual(patched.value, value);
      await assert.rejects(all.patch('o', { set: { total: 9 } }, { if: { status: 'open' } }), refusedWith('CONFLICT'));
      await assert.rejects(all.patch('o', { increment: { tags: 1 } as never }), refusedWith('VALIDATION'));
      await assert.rejects(all.patch('o', { push: { nested: 1 } as never }), refusedWith('VALIDATION'));
      await assert.rejects(all.patch('o', { set: { 'tags.x': 1 } as never }), refusedWith('VALIDATION'));
      await assert.rejects(all.patch('gone', { set: { total: 9 } }), refusedWith('NOT_FOUND'));
      assert.deepEqual(await all.get('o'), patched);
    });

    test('increment makes its sum in what it inserts', async () => {
      const all = orders();
      assert.equal(await all.increment('n', 'total', 2, { orInsert: { status: 'new', total: 40 } }), 42);
      assert.equal(await all.increment('n', 'total', 2, { orInsert: { status: 'new', total: 40 } }), 44);
      assert.equal(await all.increment('m', 'nested.deep.count', 1, { orInsert: { status: 'new' } }), 1);
      assert.deepEqual((await all.get('m')).value, { status: 'new', nested: { deep: { count: 1 } } });
    });

    test('a patch of searched text is found by its new words', async () => {
      const all = orders();
      await all.save({ status: 'open', note: 'red fox' }, { id: 'o' });
      await all.patch('o', { set: { note: 'blue whale' } });
      assert.deepEqual([await all.count({ $text: 'fox' }), await all.count({ $text: 'WHALE blue' })], [0, 1]);
    });

    test('a record that has expired is gone for everything, at that instant', async () => {
      const clock = new WallClock(NOW);
      const all = orders(clock);
      await all.save({ status: 'open', code: 'c' }, { id: 'o', ttl: 1_000 });
      clock.time = new Date(NOW.getTime() + 999);
      assert.equal(await all.has('o'), true);
      clock.time = new Date(NOW.getTime() + 1_000);
      assert.equal(await all.has('o'), false);
      assert.equal(await all.count(), 0);
      assert.deepEqual((await all.query({ status: 'open' })).items, []);
      await assert.rejects(all.replace('o', { status: 'x' }), refusedWith('NOT_FOUND'));
      await assert.rejects(all.delete('o'), refusedWith('NOT_FOUND'));
      const again = await all.insert({ status: 'new' }, { id: 'o' });
      assert.deepEqual([again.version, again.createdAt, again.expiresAt], [1, clock.time, undefined]);
    });

    test('a unique constraint holds among the living, and is named', async () => {
      const clock = new WallClock(NOW);
      const all = orders(clock);
      await all.save({ status: 'a', code: 'x' }, { id: 'a', ttl: 1_000 });
      const broken = (error: unknown): boolean =>
        isStorageError(error, 'ALREADY_EXISTS') && error.details['constraint'] === 'byCode';
      await assert.rejects(all.save({ status: 'b', code: 'x' }), broken);
      await all.save({ status: 'none' });
      await all.save({ status: 'none', code: null });
      const { id } = await all.save({ status: 'b', code: 'y' });
      await assert.rejects(all.patch(id, { set: { code: 'x' } }), broken);
      await assert.rejects(all.replace(id, { status: 'b', code: 'x' }), broken);
      const many = all.saveMany([{ value: { status: 'c' } }, { value: { status: 'd', code: 'x' } }]);
      const { batch } = target().backend.capabilities;
      await assert.rejects(many, batch === 'atomic' ? broken : refusedWith('UNSUPPORTED'));
      assert.equal(await all.count({ status: 'c' }), 0);
      clock.time = new Date(NOW.getTime() + 1_000);
      await all.save({ status: 'heir', code: 'x' });
      assert.equal(await all.count({ code: 'x' }), 1);
    });

    test('sequence ids count up, sort by number and are never given twice', async () => {
      const invoices = collectionOn(target().backend, Invoices, freshTenant());
      const saved = await Promise.all(Array.from({ length: 100 }, (_, i) => invoices.save({ total: i })));
      const numbers = saved.map(({ id }) => Number(id)).sort((x, y) => x - y);
      assert.deepEqual(
        numbers,
        Array.from({ length: 100 }, (_, i) => i + 1),
      );
      const listed = (await invoices.list({ limit: 100 })).items.map(({ id }) => Number(id));
      assert.deepEqual(listed, numbers);
      await invoices.delete('100');
      assert.equal((await invoices.save({ total: 0 })).id, '101');
      await invoices.insert({ total: 0 }, { id: '200' });
      assert.equal((await invoices.save({ total: 0 })).id, '201');
      assert.equal(await invoices.count({ id: { $gte: '100' } }), 3);
      await assert.rejects(invoices.insert({ total: 0 }, { id: 'abc' }), refusedWith('VALIDATION'));
      await assert.rejects(invoices.get('abc'), refusedWith('NOT_FOUND'));
      await assert.rejects(invoices.delete('a1'), refusedWith('NOT_FOUND'));
      assert.equal((await invoices.get('1')).id, '1');
    });

    test('an id of a sequence that a patch or an increment inserts is not given again either', async () => {
      const invoices = collectionOn(target().backend, Invoices, freshTenant());
      const orInsert = { total: 5 };
      assert.equal((await invoices.patch('1', { set: { total: 6 } }, { orInsert })).version, 1);
      assert.equal((await invoices.insert({ total: 0 })).id, '2');
      assert.equal(await invoices.increment('4', 'total', 1, { orInsert }), 6);
      await invoices.delete('4');
      assert.equal((await invoices.save({ total: 0 })).id, '5');
      assert.equal(await invoices.increment('2', 'total', 7, { orInsert }), 7);
      assert.equal((await invoices.save({ total: 0 })).id, '6');
      for (const id of ['abc', '0', '01', '1.5']) {
        await assert.rejects(invoices.patch(id, { set: { total: 1 } }, { orInsert }), refusedWith('VALIDATION'));
        await assert.rejects(invoices.increment(id, 'total', 1, { orInsert }), refusedWith('VALIDATION'));
        await assert.rejects(invoices.patch(id, { set: { total: 1 } }), refusedWith('NOT_FOUND'));
      }
      assert.equal(await invoices.count(), 4);
    });

    test('load writes what it can and reports the rest; loading again changes nothing but versions', async () => {
      const all = orders();
      async function* source(): AsyncGenerator<{ id: string; value: Order; createdAt: Date }> {
        for (let i = 0; i < 1_203; i++)
          yield { id: `o${i}`, value: { status: 's', total: i === 7 ? Number.NaN : i }, createdAt: new Date(i) };
      }
      const progress: number[] = [];
      const report = await all.load(source(), { onProgress: ({ written }) => progress.push(written) });
      assert.deepEqual([report.written, report.failed], [1_202, 1]);
      assert.deepEqual(
        report.failures.map(({ index, error }) => [index, error.code]),
        [[7, 'VALIDATION']],
      );
      assert.equal(progress.at(-1), 1_202);
      assert.deepEqual(
        progress,
        progress.toSorted((a, b) => a - b),
      );
      assert.deepEqual((await all.get('o9')).createdAt, new Date(9));
      await all.load(source());
      assert.equal(await all.count(), 1_202);
    });
  });
}
