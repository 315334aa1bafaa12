/** MongoDB as a database of the manager: named in the environment alone, with collections, transactions and health. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { defineCollection } from '../src/collection/definition.js';
import { openStorage } from '../src/index.js';
import { registry } from '../src/registry.js';
import { loadSettings, type SettingsInput } from '../src/settings.js';
import { describeServer, Fixture, type ServerName } from './support/mongo/fixture.js';

const Orders = defineCollection<{ total: number }>({
  name: 'orders',
  fields: { total: 'number' },
  id: 'sequence',
});

test('MONGODB_URI alone configures the database mongo, and makes it the default; there is no vector provider', async () => {
  const environment = { MONGODB_URI: 'mongodb://someone:hunter2@localhost/orders' };
  const settings = await loadSettings({ registry, environment, directory: '/nonexistent' });
  expect(Object.keys(settings.databases)).toEqual(['mongo']);
  expect(settings.stores.default).toBe('mongo');
  expect(settings.vectors.default).toBeUndefined();
  expect(JSON.stringify(settings)).not.toContain('hunter2');
  const both = { ...environment, DATABASE_URL: 'memory:' };
  expect((await loadSettings({ registry, environment: both, directory: '/nonexistent' })).stores.default).toBe('main');
});

test('the only vector provider that is set up is the default one where the default database brings none', async () => {
  const defaultOf = async (overrides: SettingsInput, environment = {}) =>
    (await loadSettings({ registry, environment, directory: '/nonexistent', overrides })).vectors.default;
  const databases = { main: 'mongodb://localhost/a', other: 'postgres://h/b' };
  const stores = { default: 'main' };
  const chroma = { url: 'http://localhost:8000' };
  const pgvector = { database: 'other' };
  expect(await defaultOf({ databases, stores })).toBeUndefined();
  expect(await defaultOf({ databases, stores, vectors: { chroma } })).toBe('chroma');
  expect(await defaultOf({ databases, stores }, { STORAGE_VECTORS_CHROMA_URL: chroma.url })).toBe('chroma');
  expect(await defaultOf({ databases, stores, vectors: { pgvector } })).toBe('pgvector');
  expect(await defaultOf({ databases, stores, vectors: { pgvector, chroma } })).toBeUndefined();
  expect(await defaultOf({ databases, stores: { default: 'other' }, vectors: { chroma } })).toBe('pgvector');
});

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'a manager', () => {
    let fixture: Fixture;
    beforeAll(async () => {
      fixture = await Fixture.open(server);
    });
    afterAll(() => fixture.close());

    test('keeps collections, runs transactions where there are any, and reports its health', async () => {
      const storage = await openStorage({ databases: { main: fixture.url } });
      const orders = storage.collection(Orders);
      const { id } = await orders.save({ total: 1 });
      expect(id).toBe('1');
      const work = storage.transaction(async (tx) => {
        const inside = tx.collection(Orders);
        await inside.increment(id, 'total', 2);
        await inside.save({ total: 9 });
        return (await inside.get(id)).value.total;
      });
      if (server === 'mongo') {
        expect(await work).toBe(3);
        expect(await orders.count({ total: { $gte: 3 } })).toBe(2);
      } else {
        await expect(work).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        expect((await orders.get(id)).value.total).toBe(1);
      }
      expect(await storage.health()).toMatchObject({ overall: 'healthy' });
      await storage.close();
      await expect(orders.get(id)).rejects.toMatchObject({ code: 'CLOSED' });
    });
  });
