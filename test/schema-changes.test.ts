/** What a changed declaration does to the tables and the records that are there, on every database that speaks SQL. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from '../src/backends/sql/index.js';
import type { JsonObject, RecordBackend, RecordSchema, Write } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import type { OperationContext } from '../src/component.js';
import { tokenize } from '../src/filter/text.js';
import type { SqlPool } from '../src/pools/pool.js';
import { registry } from '../src/registry.js';
import { availableTargets } from '../src/testing/index.js';
import { type OpenPool, openPool } from './support/open-target.js';

const T0 = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;
const T = { tenant: 't' };
const context = (days = 0): OperationContext => ({
  now: new Date(T0 + days * DAY),
  deadline: performance.now() + 60_000,
});
const define = (more: object = {}): RecordSchema =>
  defineCollection<Record<string, unknown>>({ name: 'orders', id: 'given', ...more } as never).schema;

for (const name of ['pglite', 'sqlite', 'postgres']) {
  const driver = await registry.pool(name);
  const [target] = availableTargets(driver.tests, process.env).available;

  (target === undefined ? describe.skip : describe)(`a changed declaration (${name})`, () => {
    let opened: OpenPool;
    let backend: RecordBackend;
    let statements: string[];
    beforeEach(async () => {
      opened = await openPool(driver, target!);
      statements = [];
      const counting = new Proxy(opened.pool as SqlPool, {
        get(pool, key) {
          const member: unknown = Reflect.get(pool, key);
          if (typeof member !== 'function') return member;
          const bound = (member as (...parameters: unknown[]) => unknown).bind(pool);
          if (key !== 'query' && key !== 'script') return bound;
          return (...parameters: unknown[]) => {
            statements.push(String(parameters[0]));
            return bound(...parameters);
          };
        },
      });
      backend = sql.create(counting, 'main');
    });
    afterEach(() => opened.close());

    const save = (values: Record<string, JsonObject>, tenant = 't') =>
      backend.write(
        { tenant },
        Object.entries(values).map(([id, value]): Write => ({ kind: 'put', collection: define(), id, value })),
        context(),
      );
    const cost = async (schema: RecordSchema, days = 0): Promise<number> => {
      statements = [];
      await backend.ensure([schema], context(days));
      return statements.length;
    };
    const found = (schema: RecordSchema, word: string): Promise<number> =>
      backend.count(T, { collection: schema, filter: { op: 'text', words: [word] } }, context());

    test('is checked once: fields that existing records do not fit are refused with their number and the first ids', async () => {
      await backend.ensure([define()], context());
      await save({ a: { total: 'many', due: '2026-02-30T00:00:00.000Z' }, b: { total: 2, due: null }, c: {} });
      await save({ d: { o: [{ x: 1 }], s: 'é'.repeat(6) } }, 'other');
      const fields = { total: 'number', due: 'date', 'o.x': 'number', s: { type: 'string', maxBytes: 11 } };
      const schema = define({ fields });
      await expect(backend.ensure([schema], context())).rejects.toMatchObject({
        code: 'MIGRATION',
        message: expect.not.stringMatching(/other|many/),
        details: {
          collection: 'orders',
          count: 2,
          fields: { total: 1, due: 1, 'o.x': 1, s: 1 },
          records: [
            { tenant: 'other', id: 'd' },
            { tenant: 't', id: 'a' },
          ],
        },
      });
      await save({ a: { total: 1, due: '2028-02-29T00:00:00.000Z' } });
      await save({ d: { o: { x: 1 }, s: 'é'.repeat(5) } }, 'other');
      await backend.ensure([schema], context());
      expect(await cost(schema)).toBe(1);
      // Shorter is another matter, longer is not.
      await expect(
        backend.ensure([define({ fields: { ...fields, s: { type: 'string', maxBytes: 9 } } })], context()),
      ).rejects.toMatchObject({ details: { count: 1, fields: { s: 1 } } });
      await backend.ensure([define({ fields: { ...fields, s: 'string' } })], context());
      await expect(
        backend.ensure([define({ fields: { ...fields, total: 'string' } })], context()),
      ).rejects.toMatchObject({ details: { count: 2, fields: { total: 2 } } });
    });

    test('finds the texts that are no dates, and no others', async () => {
      const good = ['0000-02-29T00:00:00.000Z', '9999-12-31T23:59:59.999Z', '2000-02-29T12:30:00.001Z'];
      const bad = [
        ...['2026-01-01', '2026-01-01T00:00:00Z', '2026-13-01T00:00:00.000Z', '1900-02-29T00:00:00.000Z', ''],
        ...['2026-04-31T00:00:00.000Z', '2026-01-01T24:00:00.000Z', '2026-01-01T00:00:60.000Z', 'now', '2461042.5'],
        ...['2026-01-01T00:00:00.000+00:00', ' 2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.0000Z'],
      ];
      await backend.ensure([define()], context());
      await save(Object.fromEntries([...good, ...bad].map((due, i) => [`r${i}`, { due }])));
      await expect(backend.ensure([define({ fields: { due: 'date' } })], context())).rejects.toMatchObject({
        details: { count: bad.length },
      });
    });

    test('that is unique is refused with the number and the first ids, and applied once the records are changed', async () => {
      await backend.ensure([define({ fields: { n: 'number' } })], context());
      const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`m${i + 10}`, { n: 7 }]));
      await save({ ...many, a: { n: 1 }, b: { n: 2 }, c: {}, d: { n: null } });
      await save({ a: { n: 1 } }, 'other');
      const schema = define({ fields: { n: 'number' }, unique: [{ name: 'byN', fields: ['n'] }] });
      const refused = {
        code: 'MIGRATION',
        details: {
          collection: 'orders',
          constraint: 'byN',
          count: 12,
          records: Array.from({ length: 10 }, (_, i) => ({ tenant: 't', id: `m${i + 10}` })),
        },
      };
      for (let i = 0; i < 2; i++) await expect(backend.ensure([schema], context())).rejects.toMatchObject(refused);
      await save(Object.fromEntries(Object.keys(many).map((id, i) => [id, { n: 100 + i }])));
      // What has expired is no conflict, though it is still there.
      const expired: Write = {
        kind: 'put',
        collection: define(),
        id: 'gone',
        value: { n: 1 },
        expiresAt: new Date(T0 + 1),
      };
      await backend.write(T, [expired], context());
      await backend.ensure([schema], context(1));
      expect(await cost(schema, 1)).toBe(1);
      const again: Write = { kind: 'insert', collection: schema, id: 'e', value: { n: 2 } };
      await expect(backend.write(T, [again], context(1))).rejects.toMatchObject({ details: { constraint: 'byN' } });
    });

    test('of the text makes the words of all records anew', async () => {
      const first = define({ text: ['title'] });
      await backend.ensure([first], context());
      const writes = Array.from({ length: 1_200 }, (_, i): Write => {
        return { kind: 'put', collection: first, id: `r${i}`, value: { title: 'red', body: 'fox' } };
      });
      for (let i = 0; i < writes.length; i += 400) await backend.write(T, writes.slice(i, i + 400), context());
      expect([await found(first, 'red'), await found(first, 'fox')]).toEqual([1_200, 0]);
      const second = define({ text: ['body'] });
      await backend.ensure([second], context());
      expect([await found(second, 'red'), await found(second, 'fox')]).toEqual([0, 1_200]);
      expect(await cost(second)).toBe(1);
      const [record] = await backend.read(T, [{ collection: second, id: 'r7' }], context());
      expect(record).toMatchObject({ version: 1, updatedAt: new Date(T0) });
    });

    test('that stands by former rules of words has its words made anew', async () => {
      const schema = define({ text: ['title'] });
      const long = 'a'.repeat(3_000);
      await backend.ensure([schema], context());
      const writes = Array.from({ length: 3 }, (_, i): Write => {
        return { kind: 'put', collection: schema, id: `r${i}`, value: { title: `fox ${long}` } };
      });
      await backend.write(T, writes, context());
      const byRules = (rules: number): string =>
        createHash('sha256')
          .update(JSON.stringify([rules, ['title']]))
          .digest('hex')
          .slice(0, 12);
      const [orders, notes, words] =
        name === 'sqlite'
          ? ['quartermaster_orders', 'quartermaster_qm_schema', `' fox ${long} '`]
          : ['quartermaster.orders', 'quartermaster.qm_schema', `ARRAY['fox', '${long}']`];
      await (opened.pool as SqlPool).script(
        `UPDATE ${orders} SET words = ${words}; UPDATE ${notes} SET note = replace(note, '${byRules(2)}', '${byRules(1)}')`,
        context(),
      );
      const [asked] = tokenize(long);
      expect(await found(schema, asked!)).toBe(0);
      await backend.ensure([schema], context(1));
      expect([await found(schema, asked!), await found(schema, 'fox')]).toEqual([3, 3]);
      expect(await cost(schema, 1)).toBe(1);
      const [record] = await backend.read(T, [{ collection: schema, id: 'r1' }], context(1));
      expect(record).toMatchObject({ version: 1, updatedAt: new Date(T0) });
    });

    test('of the kind of ids is refused while there are records that it would not find', async () => {
      const given = define();
      const numbered = define({ id: 'sequence' });
      await backend.ensure([given], context());
      await save({ a1: {}, b7: {}, '1': {}, p9: {}, a0: {}, 'a1\nb': {} });
      const refused = (count: number, ids: readonly string[]) => ({
        code: 'MIGRATION',
        details: { collection: 'orders', count, records: ids.map((id) => ({ tenant: 't', id })) },
      });
      const misfits = refused(5, ['1', 'a0', 'a1\nb', 'b7', 'p9']);
      for (let i = 0; i < 2; i++) await expect(backend.ensure([numbered], context())).rejects.toMatchObject(misfits);
      await backend.ensure([define({ id: 'uuid' })], context());
      const gone = ['1', 'a0', 'a1\nb', 'b7', 'p9'].map((id): Write => ({ kind: 'delete', collection: given, id }));
      await backend.write(T, gone, context());
      await backend.ensure([numbered], context());
      expect(await cost(numbered)).toBe(1);
      await save(Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`b${i + 10}`, {}])));
      const numbers = ['1', '10', '11', '12', '13', '14', '15', '16', '17', '18'];
      for (const days of [0.1, 2])
        await expect(backend.ensure([given], context(days))).rejects.toMatchObject(refused(12, numbers));
      expect(await cost(numbered, 3)).toBe(1);
      const all = ['a1', ...Array.from({ length: 11 }, (_, i) => `b${i + 10}`)];
      await backend.write(
        T,
        all.map((id): Write => ({ kind: 'delete', collection: given, id })),
        context(),
      );
      await backend.ensure([given], context(3));
      await save({ a1: {} });
      expect(await cost(given, 4)).toBe(1);
      expect(await backend.settle!(given, false, context(4))).toEqual([]);
    });

    test('leaves indexes that are no longer declared until it is settled, which checks and drops', async () => {
      const old = define({ fields: { n: 'number', s: 'string' }, indexes: [{ keys: ['n'] }], text: ['s'] });
      const young = define({ fields: { n: 'number' }, indexes: [{ keys: [['n', 'desc']] }], text: ['s'] });
      await backend.ensure([old], context());
      await backend.ensure([young], context());
      await save({ a: { n: 'one', s: 'fox' } });
      const [index, ...others] = await backend.settle!(young, true, context());
      expect(index).toMatch(/orders_i_[0-9a-f]{8}$/);
      expect(others).toEqual([]);
      await expect(backend.settle!(young, false, context())).rejects.toMatchObject({ details: { fields: { n: 1 } } });
      expect(await backend.settle!(young, true, context())).toEqual([index]);
      expect(await cost(young)).toBe(1);
      await save({ a: { n: 1, s: 'fox' } });
      expect(await found(young, 'fox')).toBe(0);
      expect(await backend.settle!(young, false, context())).toEqual([index]);
      expect(await backend.settle!(young, true, context())).toEqual([]);
      expect(await found(young, 'fox')).toBe(1);
      expect(await cost(young)).toBe(1);
    });

    test('lets processes with the one before it in for a day, and takes it for a change after that', async () => {
      const old = define({ fields: { n: 'number' }, text: ['title'] });
      const young = define({
        fields: { n: 'number', s: 'string' },
        indexes: [{ keys: ['s'] }],
        text: ['title', 'body'],
      });
      await backend.ensure([old], context());
      await backend.ensure([young], context(1));
      await save({ a: { s: 5, body: 'fox' } });
      for (const days of [1, 1.9]) {
        expect(await cost(old, days)).toBe(1);
        expect(await cost(young, days)).toBe(1);
      }
      await backend.ensure([old], context(3));
      expect(await cost(old, 3)).toBe(1);
      expect(await cost(young, 3.5)).toBe(1);
      await expect(backend.ensure([young], context(5))).rejects.toMatchObject({ details: { fields: { s: 1 } } });
    });
  });
}
