/** Operations of a transaction that their own signal ends between two of their statements: no half of one is committed. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection, StorageError, type Transaction } from '../src/index.js';
import { databaseOf } from './support/open-parts.js';
import { enqueue, kept } from './support/outbox.js';
import { storageTargets } from './support/storage-targets.js';
import { useStorage } from './support/use-storage.js';

const Notes = defineCollection<{ n: number }>({ name: 'cut_notes', id: 'given' });

/** A signal that aborts when it is looked at for the `look`th time: each is a place where an operation may be ended. */
function abortingAt(look: number): AbortSignal {
  const controller = new AbortController();
  const { signal } = controller;
  let looks = 0;
  const isAborted = (): boolean => {
    if (++looks === look) controller.abort();
    return looks >= look;
  };
  return Object.defineProperty(signal, 'aborted', { get: isAborted });
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: StorageError) => error.code,
  );

for (const target of storageTargets('operations cut short').filter(({ transactions }) => transactions))
  describe(`operations cut short on ${target.name}`, () => {
    const storage = useStorage(target);
    beforeAll(async () => {
      await enqueue(storage(), 'first', {});
      await storage().collection(Notes).count();
    });

    /** Cuts `work` at every place, one after another, in a transaction that goes on: how the operation and the whole ended. */
    const cutEverywhere = async (
      work: (tx: Transaction, signal: AbortSignal, look: number) => Promise<unknown>,
      around: (tx: Transaction, work: (tx: Transaction) => Promise<unknown>) => Promise<unknown>,
    ): Promise<string[]> => {
      const ends: string[] = [];
      for (let look = 1, part = ''; part !== 'done'; look++) {
        expect(look).toBeLessThan(200);
        const whole = storage().transaction(async (tx) => {
          await tx.collection(Notes).save({ n: 1 }, { id: 'note' });
          part = await codeOf(around(tx, (inside) => work(inside, abortingAt(look), look)));
        });
        const end = await codeOf(whole);
        ends.push(`${part}, ${end}`);
      }
      return ends;
    };

    test('between two statements fail the whole, before the first they do not', async () => {
      const before = await kept(storage());
      const leave = (tx: Transaction, signal: AbortSignal, look: number) =>
        tx.outbox.enqueue({ topic: 'mail', key: `key ${look}`, payload: {} }, { signal });
      const ends = await cutEverywhere(leave, (tx, work) => work(tx));
      expect(ends[0]).toBe('ABORTED, done');
      expect(ends.at(-1)).toBe('done, done');
      expect(ends.slice(1, -1)).toContain('ABORTED, ABORTED');
      // The message that was not cut, with its key and its lane.
      expect(await kept(storage())).toEqual(before.map((count) => count + 1));
    });

    test.each(['TIMEOUT', 'ABORTED'] as const)(
      'a function that throws the %s of another storage cuts nothing',
      async (code) => {
        const notes = storage().collection(Notes);
        await notes.save({ n: 1 }, { id: 'note' });
        await storage().transaction(async (tx) => {
          const inside = tx.collection(Notes);
          await inside.replace('note', { n: 2 });
          const signal = new AbortController().signal;
          const other = inside.update('note', () => Promise.reject(new StorageError(code, 'of another')), { signal });
          expect(await codeOf(other)).toBe(code);
        });
        expect((await notes.get('note')).value).toEqual({ n: 2 });
      },
    );

    test('fail only the transaction within in which they ran', async () => {
      if (!databaseOf(storage()).backend.capabilities.savepoints) {
        const within = storage().transaction((tx) => tx.transaction(async () => undefined));
        return expect(await codeOf(within)).toBe('UNSUPPORTED');
      }
      const leave = (tx: Transaction, signal: AbortSignal, look: number) =>
        tx.outbox.enqueueMany(
          Array.from({ length: 50 }, (_, i) => ({ topic: 'mail', key: `inner ${look} ${i}`, payload: {} })),
          { signal },
        );
      const before = await kept(storage());
      const ends = await cutEverywhere(leave, (tx, work) => tx.transaction((inner) => work(inner)));
      expect(ends.at(-1)).toBe('done, done');
      expect(await kept(storage())).toEqual(before.map((count) => count + 50));
    });
  });
