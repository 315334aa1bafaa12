/** The deadline and the signal of a transaction within a transaction, whatever goes on within it. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection, type StorageError, type Transaction } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import type { TransactionCallOptions } from '../src/unit-of-work/transaction.js';
import { AheadClock, openOn } from './support/ahead-clock.js';
import { databaseOf } from './support/open-parts.js';
import { storageTargets } from './support/storage-targets.js';

const Notes = defineCollection<{ n: number }>({ name: 'bounded_notes', id: 'given' });
const never = new Promise<never>(() => undefined);
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: StorageError) => error.code,
  );
const targets = storageTargets('the bounds of a transaction within').filter(({ transactions }) => transactions);

describe.each(targets)('the bounds of a transaction within on $name', ({ prepare }) => {
  const clock = new AheadClock();
  let storage: StorageManager;
  let drop: () => Promise<void>;
  let tenants = 0;
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    storage = await openOn(clock, { databases: { main: prepared.url } });
    await storage.collection(Notes).count();
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });

  /** Of three, one in another: how the one with `middle` ends, while the one in it, with `innermost`, does not. */
  const ends = async (
    middle: TransactionCallOptions,
    begun: () => void = () => undefined,
    innermost: TransactionCallOptions = {},
  ): Promise<void> => {
    const mine = storage.tenant(`b${++tenants}`);
    const add = (tx: Transaction, id: string) => tx.collection(Notes).insert({ n: 1 }, { id });
    if (!databaseOf(storage).backend.capabilities.savepoints) {
      const work = mine.transaction((tx) => tx.transaction(async () => undefined, middle));
      return expect(await codeOf(work)).toBe('UNSUPPORTED');
    }
    const undone: string[] = [];
    const whole = mine.transaction(
      async (tx) => {
        await add(tx, 'a');
        const part = tx.transaction(async (inner) => {
          inner.onRollback(() => void undone.push('middle'));
          await add(inner, 'b');
          await inner.transaction(async (last) => {
            last.onRollback(() => void undone.push('innermost'));
            await add(last, 'c');
            begun();
            await never;
          }, innermost);
        }, middle);
        expect(await codeOf(part)).toBe(middle.timeout === undefined ? 'ABORTED' : 'TIMEOUT');
        await add(tx, 'd');
      },
      // A safety net: without the bounds of the part it ends at this.
      { timeout: 80_000 },
    );
    expect(await codeOf(whole)).toBe('done');
    expect(undone).toEqual(['innermost', 'middle']);
    expect((await mine.collection(Notes).list()).items.map(({ id }) => id)).toEqual(['a', 'd']);
  };

  test('its deadline ends what is within it too, and the whole goes on', () =>
    ends({ timeout: 60_000 }, () => clock.skip(60_000)));

  test('its signal ends what is within it too, and the whole goes on', async () => {
    const abort = new AbortController();
    await ends({ signal: abort.signal }, () => abort.abort());
  });

  test('its signal ends what is within it also where that has one of its own', async () => {
    const abort = new AbortController();
    await ends({ signal: abort.signal }, () => abort.abort(), { signal: new AbortController().signal });
  });
});
