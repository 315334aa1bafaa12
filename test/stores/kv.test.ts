/** The key-value store on every database. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

for (const target of storageTargets('kv'))
  describe(`kv on ${target.name}`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      storage = await openStorage({ databases: { main: prepared.url } }, { environment: {} });
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    test('keeps what is set, a stored null too', async () => {
      expect(await storage.kv.get('users', 'ann')).toEqual({ namespace: 'users', key: 'ann', found: false });
      await storage.kv.set('users', 'ann', { age: 4 });
      await storage.kv.set('users', 'bob', null);
      expect(await storage.kv.get('users', 'ann')).toMatchObject({ found: true, value: { age: 4 }, version: 1 });
      expect(await storage.kv.get('users', 'bob')).toMatchObject({ found: true, value: null });
      await Promise.all(Array.from({ length: 8 }, (_, i) => storage.kv.set('users', 'ann', i)));
      expect(await storage.kv.get('users', 'ann')).toMatchObject({ version: 9 });
    });
  });
