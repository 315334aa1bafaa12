/** What the operations tell of a server of MongoDB's protocol. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MongoClient } from 'mongodb';
import { defineCollection, openStorage, type Operations, type StorageManager } from '../src/index.js';
import { describeServer, Fixture, type ServerName } from './support/mongo/fixture.js';

const Parts = defineCollection<{ kind: string; size: number }>({
  name: 'parts',
  fields: { kind: 'string', size: 'number' },
  indexes: [{ keys: ['kind'] }, { keys: ['size'] }],
  unique: [{ name: 'once', fields: ['kind', 'size'] }],
  id: 'given',
});

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'operations', () => {
    let fixture: Fixture;
    let storage: StorageManager;
    let operations: Operations;
    let client: MongoClient;
    let database: string;
    beforeAll(async () => {
      fixture = await Fixture.open(server);
      storage = await openStorage({ databases: { main: fixture.url } }, { environment: {} });
      operations = storage.operations();
      client = storage.mongo<MongoClient>();
      database = /\/([^/?]+)(?:\?|$)/.exec(fixture.url)![1]!;
      const items = Array.from({ length: 1_000 }, (_, i) => ({
        id: `part${i}`,
        value: { kind: `kind ${i % 10}`, size: i, filling: 'x'.repeat(300) },
      }));
      await storage.collection(Parts).load(items);
      await client.db(database).collection('of the host').insertOne({ mine: true });
    });
    afterAll(async () => {
      await storage.close();
      await fixture.close();
    });

    test('stats and tables tell what each collection takes', async () => {
      const { collections } = await operations.stats();
      const parts = collections.find(({ collection }) => collection === 'parts')!;
      expect(parts).toMatchObject({ exact: false });
      // By what the server gathered last, which may have been in the middle of the load.
      expect(parts.records).toBeLessThan(1_300);
      expect(parts.bytes).toBeGreaterThan(1_000);
      expect(parts.indexBytes).toBeGreaterThan(1_000);
      expect(collections.map(({ collection }) => collection)).not.toContain('of the host');
      await storage.collection(Parts).delete('part7');
      const exact = (await operations.stats({ exact: true })).collections;
      expect(exact.find(({ collection }) => collection === 'parts')).toMatchObject({ records: 999, exact: true });
      const tables = await operations.tables();
      expect(tables.find(({ name }) => name === 'qm_parts')).toMatchObject({ collection: 'parts' });
      expect(tables.find(({ name }) => name === 'of the host')).not.toHaveProperty('collection');
      expect(await operations.databaseSize()).toBeGreaterThan((parts.bytes + parts.indexBytes) / 2);
    });

    test('indexes are told with their sizes, those that hold a constraint are never unused', async () => {
      const indexes = await operations.indexes({ collection: Parts });
      expect(indexes.length).toBeGreaterThanOrEqual(4);
      for (const index of indexes) expect(index).toMatchObject({ table: 'qm_parts', collection: 'parts', valid: true });
      expect(indexes.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(1_000);
      const unique = indexes.filter((index) => index.unique).map(({ name }) => name);
      expect(unique).toContain('_id_');
      expect(unique).toHaveLength(2);
      const unused = await operations.unusedIndexes({ collection: Parts });
      expect(unused.filter(({ name }) => unique.includes(name))).toEqual([]);
      expect(unused.every(({ uses }) => uses === 0)).toBe(true);
      await expect(operations.indexes({ collection: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('the checks find nothing wrong, of one collection and of all', async () => {
      for (const options of [{}, { collection: Parts }]) {
        expect(await operations.integrityCheck(options)).toEqual({ ok: true, faults: [] });
        expect(await operations.quickCheck(options)).toEqual({ ok: true, faults: [] });
      }
      await expect(operations.integrityCheck({ collection: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('what is running is told without its values', async () => {
      expect(await operations.currentOperations({ longerThan: 3_600_000 })).toEqual([]);
      // The other server runs one operation after the other.
      if (server === 'mongo') return;
      const parts = client.db(database).collection('qm_parts');
      const run = () =>
        parts
          .aggregate([
            { $match: { v: { $ne: 'a secret' } } },
            { $lookup: { from: 'qm_parts', pipeline: [{ $match: { t: { $ne: 'a secret' } } }], as: 'all' } },
            { $unwind: '$all' },
            { $limit: 200_000 },
            { $count: 'n' },
          ])
          .toArray()
          .finally(() => (slow = undefined));
      let slow: Promise<unknown> | undefined;
      let running: Awaited<ReturnType<Operations['currentOperations']>> = [];
      // It may be over before anybody has looked.
      while (running.length === 0) {
        slow ??= run();
        running = await operations.currentOperations();
      }
      expect(running).toMatchObject([
        { id: expect.any(String) as unknown, state: 'active', text: `aggregate ${database}.qm_parts` },
      ]);
      expect(running[0]!.startedAt).toBeInstanceOf(Date);
      expect(JSON.stringify(running)).not.toContain('secret');
      await slow;
    });
  });
