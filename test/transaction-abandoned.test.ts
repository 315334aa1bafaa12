/** Transactions whose function fails while operations of it are under way: nothing of them is there afterwards. */
import { describe, expect, test } from '@jest/globals';
import { defineCollection } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';
import { useStorage } from './support/use-storage.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', id: 'given' });
const AT_ONCE = 40;
const EACH = 8;

for (const target of storageTargets('abandoned transactions').filter(({ transactions }) => transactions))
  describe(`failed transactions on ${target.name}`, () => {
    const storage = useStorage(target);

    test('leave nothing, however many of their operations wait for a connection', async () => {
      await storage().collection(Notes).count();
      let failed = 0;
      const fail = async (worker: number): Promise<void> => {
        for (let i = 0; i < EACH; i++)
          await storage()
            .transaction(async (tx) => {
              const notes = tx.collection(Notes);
              const save = (part: string) =>
                notes.saveMany([0, 1].map((n) => ({ id: `${worker}-${i}-${part}${n}`, value: { n } })));
              await Promise.all([
                save('a'),
                save('b'),
                Promise.resolve().then(() => Promise.reject(new TypeError('no'))),
              ]);
            })
            .catch((error: unknown) => {
              if (error instanceof TypeError) failed++;
            });
      };
      await Promise.all(Array.from({ length: AT_ONCE }, (_, worker) => fail(worker)));
      expect(failed).toBeGreaterThan(0);
      // What would still be on its way has come once others have been answered.
      for (let i = 0; i < 20; i++) await storage().collection(Notes).count();
      expect(await storage().collection(Notes).count()).toBe(0);
    });
  });
