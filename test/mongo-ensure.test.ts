/** Collections and indexes in MongoDB: made once, by any number at once, and made again when they are gone. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { defineCollection, type CollectionDefinition } from '../src/collection/definition.js';
import type { RecordBackend, RecordSchema } from '../src/backends/backend.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  backendOn,
  context,
  describeServer,
  Fixture,
  type ServerName,
  stored,
  write,
} from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

type Anything = Record<string, unknown>;
const define = (name: string, more: object = {}): CollectionDefinition<Anything> =>
  defineCollection<Anything>({ name, fields: { s: 'string', n: 'number' }, id: 'given', ...more });

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'ensure', () => {
    let fixture: Fixture;
    let proxy: Proxy;
    let pool: MongoPool;
    let backend: RecordBackend;
    const scope = { tenant: 't' };
    beforeAll(async () => {
      fixture = await Fixture.open(server);
      proxy = await Proxy.open(fixture.url);
      pool = await fixture.pool({}, proxy.through(fixture.url));
      backend = backendOn(pool);
    });
    afterAll(async () => {
      await fixture.close();
      await proxy.close();
    });

    const names = async (schema: RecordSchema): Promise<string[]> =>
      (await stored(pool, fixture.url, schema).indexes()).map(({ name }) => name!).sort();
    const insert = (schema: RecordSchema, id: string, value: object) =>
      backend.write(scope, [write(schema, id, { kind: 'insert', value: value as never })], context());

    test('50 at once, from ten pools, all succeed, and make each index once', async () => {
      const { schema } = define('crowd', {
        indexes: [{ keys: ['s', ['n', 'desc']] }, { keys: ['n'], scope: 'all' }, { keys: ['expiresAt'] }],
        unique: [{ name: 'byS', fields: ['s'] }],
        text: ['body'],
      });
      const others = await Promise.all(Array.from({ length: 9 }, async () => backendOn(await fixture.pool())));
      const makers = [backend, ...others].flatMap((maker) => [maker, maker, maker, maker, maker]);
      await Promise.all(makers.map((maker) => maker.ensure([schema], context())));
      // The key of the id, tenant and id, the expiry, the words, the three and the constraint.
      expect(await names(schema)).toHaveLength(8);
      await insert(schema, 'a', { s: 'x' });
      await expect(insert(schema, 'b', { s: 'x' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    });

    test('what is there costs one read of the catalogue and one of the names, however many are asked for', async () => {
      const schemas = ['one', 'two', 'three'].map((name) => define(name).schema);
      await backend.ensure(schemas, context());
      const commands = ['find', 'listCollections', 'create', 'createIndexes', 'update'];
      const before = commands.map((name) => proxy.count(name));
      await backend.ensure(schemas, context());
      expect(commands.map((name, i) => proxy.count(name) - before[i]!)).toEqual([1, 1, 0, 0, 0]);
    });

    test('a collection that someone dropped is made again, with its indexes', async () => {
      const { schema } = define('dropped', { unique: [{ name: 'byS', fields: ['s'] }] });
      await backend.ensure([schema], context());
      const made = await names(schema);
      await stored(pool, fixture.url, schema).drop();
      await backend.ensure([schema], context());
      expect(await names(schema)).toEqual(made);
    });

    test('another kind of ids is refused while there are records that it would not find', async () => {
      const given = define('counted').schema;
      const numbered = define('counted', { id: 'sequence' }).schema;
      await backend.ensure([given], context());
      for (const id of ['a1', 'b1', 'b10', '1']) await insert(given, id, {});
      const refused = (ids: readonly string[]) => ({
        code: 'MIGRATION',
        details: { collection: 'counted', count: ids.length, records: ids.map((id) => ({ tenant: 't', id })) },
      });
      await expect(backend.ensure([numbered], context())).rejects.toMatchObject(refused(['1', 'b1']));
      const remove = (id: string) => backend.write(scope, [write(given, id, { kind: 'delete' })], context());
      for (const id of ['b1', '1']) await remove(id);
      await backend.ensure([numbered], context());
      await expect(backend.ensure([given], context())).rejects.toMatchObject(refused(['1', '10']));
      for (const id of ['a1', 'b10']) await remove(id);
      await backend.ensure([given], context());
      await insert(given, 'a1', {});
      await backend.ensure([given], context());
    });

    test('a new definition adds what is new; records that break its constraint are a migration', async () => {
      const first = define('grown');
      await backend.ensure([first.schema], context());
      await insert(first.schema, 'a', { s: 'x', n: 1, body: 'red fox' });
      await insert(first.schema, 'b', { s: 'x', n: 2, $odd: { body: 'blue' } });
      const wider = define('grown', { indexes: [{ keys: ['n'] }], text: ['body'] });
      await backend.ensure([wider.schema], context());
      const filter = { op: 'text', words: ['fox'] } as const;
      expect(await backend.count(scope, { collection: wider.schema, filter }, context())).toBe(1);
      const [record] = await backend.read(scope, [{ collection: wider.schema, id: 'a' }], context());
      expect(record).toMatchObject({ version: 1, value: { s: 'x', n: 1, body: 'red fox' } });
      const strict = define('grown', { unique: [{ name: 'byS', fields: ['s'] }] });
      for (let i = 0; i < 2; i++)
        await expect(backend.ensure([strict.schema], context())).rejects.toMatchObject({
          code: 'MIGRATION',
          details: {
            collection: 'grown',
            constraint: 'byS',
            count: 2,
            records: [
              { tenant: 't', id: 'a' },
              { tenant: 't', id: 'b' },
            ],
          },
        });
      await backend.write(scope, [write(first.schema, 'b', { kind: 'delete' })], context());
      await backend.ensure([strict.schema], context());
      await expect(insert(strict.schema, 'c', { s: 'x' })).rejects.toMatchObject({ details: { constraint: 'byS' } });
    });

    test('records that do not fit a new field are refused with their number and the first ids', async () => {
      await backend.ensure([define('fits').schema], context());
      const values = {
        a: { total: 'many', due: '2026-02-30T00:00:00.000Z' },
        b: { total: 2, due: '2028-02-29T00:00:00.000Z', o: { x: null }, text: 'é'.repeat(5) },
        c: {},
        d: { o: [{ x: 1 }], text: 'é'.repeat(6), total: [1], constructor: 'x' },
      };
      for (const [id, value] of Object.entries(values)) await insert(define('fits').schema, id, value);
      const fields = {
        ...{ s: 'string', n: 'number', total: 'number', due: 'date', 'o.x': 'number', constructor: 'number' },
        text: { type: 'string', maxBytes: 11 },
      };
      const { schema } = define('fits', { fields });
      await expect(backend.ensure([schema], context())).rejects.toMatchObject({
        code: 'MIGRATION',
        details: {
          collection: 'fits',
          count: 2,
          fields: { total: 2, due: 1, 'o.x': 1, constructor: 1, text: 1 },
          records: [
            { tenant: 't', id: 'a' },
            { tenant: 't', id: 'd' },
          ],
        },
      });
      for (const id of ['a', 'd']) await backend.write(scope, [write(schema, id, { kind: 'delete' })], context());
      await backend.ensure([schema], context());
      const before = ['find', 'aggregate', 'createIndexes'].map((name) => proxy.count(name));
      await backend.ensure([schema], context());
      expect(['find', 'aggregate', 'createIndexes'].map((name, i) => proxy.count(name) - before[i]!)).toEqual([
        1, 0, 0,
      ]);
    });

    test('a changed text makes the words of all records anew', async () => {
      const first = define('texts', { text: ['s'] }).schema;
      const second = define('texts', { text: ['n', 'body'] }).schema;
      const count = (schema: RecordSchema, word: string): Promise<number> =>
        backend.count(scope, { collection: schema, filter: { op: 'text', words: [word] } }, context());
      await backend.ensure([first], context());
      for (let i = 0; i < 20; i++) await insert(first, `r${i}`, { s: 'red', body: 'fox' });
      expect([await count(first, 'red'), await count(first, 'fox')]).toEqual([20, 0]);
      await backend.ensure([second], context());
      expect([await count(second, 'red'), await count(second, 'fox')]).toEqual([0, 20]);
      await backend.ensure([first], context());
      const updates = proxy.count('update');
      await backend.ensure([second], context());
      expect(proxy.count('update')).toBe(updates);
    });

    test('indexes that are no longer declared stay until it is settled, which checks and drops', async () => {
      const old = define('settled', { indexes: [{ keys: ['n'] }] }).schema;
      const young = define('settled', { indexes: [{ keys: [['n', 'desc']] }] }).schema;
      await backend.ensure([old], context());
      await backend.ensure([young], context());
      await insert(young, 'a', { n: 'one' });
      const left = await backend.settle!(young, true, context());
      expect(left).toHaveLength(1);
      await expect(backend.settle!(young, false, context())).rejects.toMatchObject({ code: 'MIGRATION' });
      expect(await names(young)).toContain(left[0]);
      await backend.write(scope, [write(young, 'a', { kind: 'delete' })], context());
      expect(await backend.settle!(young, false, context())).toEqual(left);
      expect(await names(young)).not.toContain(left[0]);
      await backend.ensure([old], context());
      expect(await names(young)).toContain(left[0]);
    });

    test('within a transaction it makes them outside of it', async () => {
      if (pool.transactions === 'none') return expect(backend.capabilities.batch).toBe('ordered');
      const { schema } = define('inside');
      const work = pool.transaction({ context: context() }, async (session) => {
        await backend.ensure([schema], context({ session }));
        throw new Error('changed my mind');
      });
      await expect(work).rejects.toThrow('changed my mind');
      expect(await names(schema)).toHaveLength(3);
    });
  });
