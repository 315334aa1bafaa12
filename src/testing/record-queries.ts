/** Pages, cursors, deletes by filter; and the bad input that is refused before anything happens. */
import assert from 'node:assert/strict';
import { defineCollection } from '../collection/definition.js';
import type { StoredRecord } from '../collection/record-codec.js';
import type { ErrorCode } from '../errors.js';
import { Orders, refusedWith, type Order } from './record-orders.js';
import { collectionOn, contextAt, freshTenant, NOW, saveAll, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

interface Text {
  text: string;
  number?: number;
}
const fields = { text: 'string', number: 'number' } as const;
/** Sorted by texts of any length, which no index holds. */
const Texts = defineCollection<Text>({ name: 'test_texts', fields });
const Twins = defineCollection<Text>({ name: 'test_text_twins', fields });

export function describeQueries(runner: TestRunner, target: () => OpenRecords): void {
  const { describe, test } = runner;
  const orders = () => collectionOn(target().backend, Orders, freshTenant());

  describe('queries', () => {
    test('deleteWhere deletes what matches, all of it, and refuses an empty filter', async () => {
      const all = orders();
      await all.load(Array.from({ length: 2_500 }, (_, i) => ({ value: { status: i % 5 === 0 ? 'keep' : 'drop' } })));
      await assert.rejects(all.deleteWhere({}), refusedWith('VALIDATION'));
      await assert.rejects(all.deleteWhere({ $and: [] }), refusedWith('VALIDATION'));
      assert.equal(await all.deleteWhere({ status: 'drop' }), 2_000);
      assert.equal(await all.count(), 500);
      assert.equal(await all.deleteWhere({ all: true }), 500);
    });

    test('every order, page by page, forwards and back, is the whole order', async () => {
      const all = orders();
      const values = Array.from({ length: 23 }, (_, i): { value: Order } => ({
        value: { status: 'abc'[i % 3]!, ...(i % 4 === 0 ? {} : { total: i % 2 === 0 ? i % 5 : null }) },
      }));
      await saveAll(all, target().backend, values);
      for (const sort of [
        {},
        { total: 'asc' },
        { total: 'desc' },
        { status: 'asc', total: 'desc' },
        { total: 'asc', status: 'desc' },
        { id: 'desc', status: 'asc' },
        { status: 'asc', id: 'desc', total: 'asc' },
      ] as const) {
        const whole = (await all.query({}, { sort, limit: 100 })).items.map(({ id }) => id);
        if (Object.keys(sort)[0] === 'id') assert.deepEqual(whole, whole.toSorted().reverse());
        const forwards: string[] = [];
        let page = await all.query({}, { sort, limit: 4 });
        for (;;) {
          forwards.push(...page.items.map(({ id }) => id));
          if (page.next === undefined) break;
          page = await all.query({}, { sort, limit: 4, after: page.next });
        }
        assert.deepEqual(forwards, whole);
        const backwards: StoredRecord<Order>[] = [...page.items];
        while (page.previous !== undefined) {
          page = await all.query({}, { sort, limit: 4, after: page.previous });
          backwards.unshift(...page.items);
        }
        assert.deepEqual(
          backwards.map(({ id }) => id),
          whole,
        );
      }
    });

    test('texts are sorted by code point, and keep the byte order mark that they begin with', async () => {
      const all = orders();
      const texts = ['😀', '\uffff', '\ufeff', '\ufeff\ufeffx', '\ufeffx', 'x', 'x\ufeff'];
      for (const text of texts) await all.save({ status: text, code: text });
      const { items } = await all.list({ sort: { status: 'asc' } });
      assert.deepEqual(
        items.map(({ value }) => value.status),
        ['x', 'x\ufeff', '\ufeff', '\ufeffx', '\ufeff\ufeffx', '\uffff', '😀'],
      );
      const groups = await all.aggregate({}, { by: ['status'] });
      assert.deepEqual(
        groups.map(({ key, count }) => `${key.status} ${count}`).sort(),
        texts.map((text) => `${text} 1`).sort(),
      );
    });

    test('a made-up cursor of a time before all time is refused before it is sent', async () => {
      const all = orders();
      for (const id of ['a', 'b']) await all.save({ status: 's' }, { id });
      for (const by of ['createdAt', 'expiresAt'] as const) {
        const { next } = await all.list({ sort: { [by]: 'asc' }, limit: 1 });
        const made = (time: string | null): string => {
          const parts = JSON.parse(Buffer.from(next!, 'base64url').toString()) as unknown[];
          return Buffer.from(JSON.stringify([...parts.slice(0, -1), [time, 'a']])).toString('base64url');
        };
        for (const time of ['-271821-04-20T00:00:00.000Z', '-000001-01-01T00:00:00.000Z'])
          await assert.rejects(all.list({ sort: { [by]: 'asc' }, after: made(time) }), refusedWith('INVALID_CURSOR'));
        for (const time of ['0000-01-01T00:00:00.000Z', '+275760-09-13T00:00:00.000Z'])
          await all.list({ sort: { [by]: 'asc' }, after: made(time) });
      }
    });

    test('a cursor that was given is taken back, however long the values of its sort are', async () => {
      const texts = collectionOn(target().backend, Texts, freshTenant());
      const sort = { text: 'asc' } as const;
      for (const name of ['c', 'a', 'b']) await texts.save({ text: `${name}${'\u0001'.repeat(170_000)}` });
      const first = await texts.list({ sort, limit: 1 });
      const second = await texts.list({ sort, limit: 1, after: first.next! });
      const third = await texts.list({ sort, limit: 1, after: second.next! });
      const back = await texts.list({ sort, limit: 1, after: third.previous! });
      const names = [first, second, third, back].map(({ items }) => items[0]!.value.text.slice(0, 1));
      assert.deepEqual(names, ['a', 'b', 'c', 'b']);
      await texts.deleteWhere({ all: true });
      await texts.load(Array.from({ length: 201 }, (_, i) => ({ value: { text: `${i}${'x'.repeat(7_000)}` } })));
      let met = 0;
      for await (const { value } of texts.each({}, { sort })) met += value.text.length > 7_000 ? 1 : 0;
      assert.equal(met, 201);
    });

    test('cursors are bound to their query', async () => {
      const all = orders();
      await saveAll(
        all,
        target().backend,
        Array.from({ length: 3 }, () => ({ value: { status: 's' } })),
      );
      const { next } = await all.query({}, { limit: 1 });
      const invalid = refusedWith('INVALID_CURSOR');
      await assert.rejects(all.query({ status: 's' }, { after: next! }), invalid);
      await assert.rejects(all.query({}, { after: next!, sort: { total: 'asc' } }), invalid);
      await assert.rejects(orders().query({}, { after: next! }), invalid);
      for (const forged of [
        '',
        'x',
        'é',
        next!.slice(0, -3),
        `${next!}AAAA`,
        Buffer.from('[1,"x",1,[null]]').toString('base64url'),
      ])
        await assert.rejects(all.query({}, { after: forged }), invalid);
      await assert.rejects(all.query({}, { after: 5 as never }), invalid);
    });

    test('a cursor of another collection, or of another form than its sort, is refused', async () => {
      const tenant = freshTenant();
      const texts = collectionOn(target().backend, Texts, tenant);
      const twins = collectionOn(target().backend, Twins, tenant);
      const sort = { number: 'asc' } as const;
      for (const all of [texts, twins]) for (const number of [1, 2]) await all.save({ text: 't', number });
      const { next } = await texts.list({ sort, limit: 1 });
      const invalid = refusedWith('INVALID_CURSOR');
      await assert.rejects(twins.list({ sort, after: next! }), invalid);
      const parts = JSON.parse(Buffer.from(next!, 'base64url').toString()) as unknown[];
      const made = (...values: unknown[]): string =>
        Buffer.from(JSON.stringify([...parts.slice(0, -1), values])).toString('base64url');
      await texts.list({ sort, after: made(1, 'a') });
      await texts.list({ sort, after: made(null, 'a') });
      for (const values of [['x', 'a'], [true, 'a'], [[1], 'a'], [1], [], [1, 'a', 'x'], [1, null], [1, 5]])
        await assert.rejects(texts.list({ sort, after: made(...values) }), invalid, JSON.stringify(values));
      for (const id of ['\ud800', 'a\0']) await assert.rejects(texts.list({ sort, after: made(1, id) }), invalid);
    });

    test('bad input is refused before anything is written', async () => {
      const all = orders();
      const refused = async (work: Promise<unknown>, code: ErrorCode = 'VALIDATION'): Promise<void> =>
        assert.rejects(work, refusedWith(code));
      for (const id of ['', 'x'.repeat(256), 5, null, 'a\u0000b', 'a\nb', '\ud800', ' padded', {}])
        await refused(all.insert({ status: 's' }, { id: id as string }));
      const cycle: Record<string, unknown> = { status: 's' };
      cycle['self'] = cycle;
      const deep = JSON.parse(`${'{"a":'.repeat(70)}1${'}'.repeat(70)}`) as object;
      const values = [
        null,
        5,
        'text',
        [],
        new Map(),
        new Date(),
        { status: 5 },
        { status: 's', total: Number.NaN },
        { status: 's', total: 5n },
        { status: 's', note: () => 1 },
        { status: 's', tags: [undefined] },
        { status: 's', when: new Date() },
        cycle,
        { status: 's', dueAt: '2020' },
        { status: 's', dueAt: '+012345-01-01T00:00:00.000Z' },
        { status: 's', dueAt: '-000001-01-01T00:00:00.000Z' },
        { status: 's', dueAt: new Date(Number.NaN) },
        { status: 's', note: '\ud800' },
        { status: 's', note: 'a\u0000' },
        { status: 's', nested: deep },
        { status: 's', note: 'x'.repeat(1_100_000) },
        { status: 'x'.repeat(513) },
        JSON.parse('{"status":"s","__proto__":1}'),
      ];
      for (const value of values) await refused(all.save(value as Order));
      for (const ttl of [0, -1, Number.NaN, Infinity, '5'])
        await refused(all.save({ status: 's' }, { ttl: ttl as number }));
      for (const limit of [0, -1, 1.5, 1_001, '5']) await refused(all.list({ limit: limit as number }));
      await refused(all.replace('x', { status: 's' }, { ifVersion: 0 }));
      await refused(
        all.saveMany([
          { id: 'a', value: { status: 's' } },
          { id: 'a', value: { status: 's' } },
        ]),
        target().backend.capabilities.batch === 'atomic' ? 'VALIDATION' : 'UNSUPPORTED',
      );
      for (const item of [null, 5, { value: 5 }, { value: { status: 's' }, ttl: 0 }, { valu: {} }])
        await assert.rejects(all.saveMany([{ value: { status: 's' } }, item as never]), /items\[1\]/);
      await refused(all.save({ status: 's' }, { ifversion: 1 } as never));
      await refused(all.replace('x', { status: 's' }, { ifversion: 1 } as never));
      await refused(all.delete('x', { ifversion: 1 } as never));
      await refused(all.list({ size: 5 } as never));
      await refused(all.get('x', 5 as never));
      await refused(all.load([{ value: { status: 's' } }], { onProgress: 'x' as never }));
      await refused(all.patch('x', {}));
      await refused(all.patch('x', { set: { status: 5 } as never }));
      await refused(all.patch('x', { set: { nested: 1, 'nested.deep': 1 } as never }));
      await refused(all.patch('x', { set: { 'status.below': 1 } as never }));
      await refused(all.list({ sort: { status: 'up' } as never }));
      await refused(all.list({ sort: { status: 'asc', total: 'asc', dueAt: 'asc', code: 'asc' } }));
      for (const sort of [null, [], new Map([['status', 'desc']]), new Date()])
        await refused(all.list({ sort: sort as never }));
      for (const path of [undefined, null, 5, ['total']])
        await refused(all.increment('x', path as never, 1, { orInsert: { status: 's' } }));
      await refused(all.list({ sort: { note: 'asc' } as never }), 'UNSUPPORTED');
      const tall = JSON.parse(`${'{"$not":'.repeat(100)}{}${'}'.repeat(100)}`) as object;
      const filters = [
        null,
        5,
        [],
        { status: { $like: 'x' } },
        { status: {} },
        { $where: '1' },
        { $or: {} },
        { status: [] },
        { status: { $in: 5 } },
        { total: { $gt: null } },
        { total: { $gt: true } },
        { status: { $exists: 1 } },
        { dueAt: 'x' },
        { total: Number.NaN },
        { status: undefined },
        { 'a..b': 1 },
        { a$: 1, '$b.c': 1 },
        { status: { $eq: { a: 1 } } },
        tall,
        { 'a\'b"': 1 },
      ];
      for (const filter of filters) await refused(all.query(filter as never), 'INVALID_FILTER');
      assert.equal(await all.count(), 0);
    });

    test('maintenance over every tenant sees all of them', async () => {
      const { backend } = target();
      const context = contextAt(NOW);
      await backend.ensure([Orders.schema], context);
      const mark = freshTenant();
      for (const tenant of [freshTenant(), freshTenant()])
        await backend.write(
          { tenant },
          [{ collection: Orders.schema, id: 'same', kind: 'put', value: { status: mark } }],
          context,
        );
      const filter = { op: 'eq', field: { source: 'value', path: ['status'], type: 'string' }, value: mark } as const;
      const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
      const found = await backend.find('all', { collection: Orders.schema, filter, sort, limit: 10 }, context);
      assert.deepEqual(
        found.map(({ tenant }) => tenant),
        found.map(({ tenant }) => tenant).sort(),
      );
      assert.equal(found.length, 2);
    });
  });
}
