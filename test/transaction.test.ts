/** Transactions as a host writes them, over every database that has them. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineCollection, isStorageError, openStorage, type ErrorCode } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { serializationFailure } from '../src/errors.js';
import { databaseOf } from './support/open-parts.js';
import { storageTargets } from './support/storage-targets.js';

interface Account {
  balance: number;
}
const Accounts = defineCollection<Account>({ name: 'accounts', fields: { balance: 'number' }, id: 'given' });
const code = (expected: ErrorCode) => (error: unknown) => isStorageError(error, expected);

async function refused(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'nothing thrown',
    (error: unknown) => error,
  );
}

const targets = storageTargets('transactions').filter(({ transactions }) => transactions);

describe.each(targets)('on $name', ({ name, server, vectors, prepare }) => {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    storage = await openStorage({ databases: { main: prepared.url } }, { environment: {} });
    await storage.collection(Accounts).count();
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });
  let tenants = 0;
  const fresh = () => storage.tenant(`t${++tenants}`);

  test('commits, and gives the result', async () => {
    const mine = fresh();
    const result = await mine.transaction(async (tx) => {
      await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
      return (await tx.collection(Accounts).get('a')).value.balance;
    });
    expect(result).toBe(1);
    expect((await mine.collection(Accounts).get('a')).value.balance).toBe(1);
  });

  test('rolls back what its function threw at, and throws the same', async () => {
    const mine = fresh();
    const fault = new Error('no');
    const work = mine.transaction(async (tx) => {
      await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
      throw fault;
    });
    expect(await refused(work)).toBe(fault);
    expect(await mine.collection(Accounts).count()).toBe(0);
  });

  test('is refused when its function has not awaited what it began', async () => {
    const mine = fresh();
    const work = mine.transaction(async (tx) => {
      await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
      void tx.collection(Accounts).insert({ balance: 2 }, { id: 'b' });
    });
    expect(await refused(work)).toMatchObject({ code: 'VALIDATION', details: { operations: ['insert'] } });
    expect(await mine.collection(Accounts).count()).toBe(0);
  });

  if (vectors)
    test('records and vectors together', async () => {
      const mine = fresh();
      await storage.vectors().createCollection({ name: 'docs', dimension: 2 });
      await refused(
        mine.transaction(async (tx) => {
          await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
          await tx.vectors().upsert('docs', [{ id: 'a', vector: [1, 0] }]);
          throw new Error('no');
        }),
      );
      expect([await mine.collection(Accounts).count(), await mine.vectors().count('docs')]).toEqual([0, 0]);
      await mine.transaction(async (tx) => {
        await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
        await tx.vectors().upsert('docs', [{ id: 'a', vector: [1, 0] }]);
      });
      expect([await mine.collection(Accounts).count(), await mine.vectors().count('docs')]).toEqual([1, 1]);
    });

  test('runs the whole function again after a conflict', async () => {
    const mine = fresh();
    let runs = 0;
    const seen: string[] = [];
    await mine.transaction(async (tx) => {
      runs++;
      tx.onCommit(() => void seen.push(`commit ${runs}`));
      tx.onRollback(() => void seen.push(`rollback ${runs}`));
      await tx.collection(Accounts).insert({ balance: runs }, { id: 'a' });
      if (runs < 3) throw serializationFailure('main');
    });
    expect(seen).toEqual(['rollback 1', 'rollback 2', 'commit 3']);
    expect((await mine.collection(Accounts).get('a')).value.balance).toBe(3);
  });

  test('gives up after its retries with a conflict that can be tried again', async () => {
    let runs = 0;
    const error = await refused(
      fresh().transaction(
        async () => {
          runs++;
          throw serializationFailure('main');
        },
        { retries: 2 },
      ),
    );
    expect(runs).toBe(3);
    expect(error).toMatchObject({ code: 'CONFLICT', retryable: true });
  });

  test.each([
    ['between two runs', () => Promise.reject(serializationFailure('main'))],
    ['during a run', () => new Promise<never>(() => undefined)],
  ])('gives up with that conflict when its time is over %s', async (_title, again) => {
    let runs = 0;
    const undone: number[] = [];
    const error = await refused(
      fresh().transaction(
        (tx) => {
          const run = ++runs;
          tx.onRollback(() => void undone.push(run));
          return run === 1 ? Promise.reject(serializationFailure('main')) : again();
        },
        { timeout: 3_000 },
      ),
    );
    expect(error).toMatchObject({ code: 'CONFLICT', retryable: true });
    expect(undone).toEqual(Array.from({ length: runs }, (_, i) => i + 1));
  });

  test('compensations run backwards, each even if another fails; the error carries all', async () => {
    const seen: number[] = [];
    const fault = new Error('no');
    const error = await refused(
      fresh().transaction(async (tx) => {
        tx.onRollback(() => void seen.push(1));
        tx.onRollback(() => {
          throw new Error('cannot undo');
        });
        tx.onRollback(() => void seen.push(3));
        throw fault;
      }),
    );
    expect(seen).toEqual([3, 1]);
    expect((error as { cause: AggregateError }).cause.errors[0]).toBe(fault);
  });

  test('the outer handle is refused inside, at once', async () => {
    const mine = fresh();
    const outer = mine.collection(Accounts);
    await outer.count();
    const errors: unknown[] = [];
    await mine.transaction(async (tx) => {
      errors.push(await refused(outer.get('a')));
      if (vectors) errors.push(await refused(mine.vectors().listCollections()));
      errors.push(await refused(mine.transaction(async () => undefined)));
      await tx.collection(Accounts).count();
    });
    expect(errors.length).toBe(vectors ? 3 : 2);
    expect(errors.every(code('VALIDATION'))).toBe(true);
    expect(await outer.count()).toBe(0);
  });

  test('another tenant is refused', async () => {
    await fresh().transaction(async (tx) => {
      expect(() => tx.tenant('other')).toThrow(/one tenant/);
    });
  });

  test("a collection's first use inside makes its tables, and runs the function again", async () => {
    const Fresh = defineCollection<{ n: number }>({
      name: `fresh_${name.replace(/\W/g, '_')}`,
      id: 'sequence',
    });
    const mine = fresh();
    const { id } = await mine.transaction((tx) => tx.collection(Fresh).save({ n: 1 }));
    expect(id).toBe('1');
    expect((await mine.collection(Fresh).get('1')).value).toEqual({ n: 1 });
  });

  test('tx cannot be used after its end', async () => {
    let kept: Parameters<Parameters<StorageManager['transaction']>[0]>[0] | undefined;
    await fresh().transaction(async (tx) => {
      kept = tx;
    });
    expect(code('CLOSED')(await refused(kept!.collection(Accounts).get('a')))).toBe(true);
    expect(() => kept!.onCommit(() => undefined)).toThrow(/ended/);
  });

  test('an aborted signal rolls back', async () => {
    const mine = fresh();
    const controller = new AbortController();
    const error = await refused(
      mine.transaction(
        async (tx) => {
          await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
          controller.abort();
          await tx.collection(Accounts).insert({ balance: 1 }, { id: 'b' });
        },
        { signal: controller.signal },
      ),
    );
    expect(code('ABORTED')(error)).toBe(true);
    expect(await mine.collection(Accounts).count()).toBe(0);
  });

  test('a deadline ends it, whatever its function waits for, and nothing is kept', async () => {
    const mine = fresh();
    let [begun, undone] = [0, 0];
    const error = await refused(
      mine.transaction(
        async (tx) => {
          begun++;
          tx.onRollback(() => void undone++);
          await tx.collection(Accounts).insert({ balance: 1 }, { id: 'a' });
          await new Promise(() => undefined);
        },
        { timeout: 1_000 },
      ),
    );
    expect(code('TIMEOUT')(error)).toBe(true);
    // Not once where a second was too short for the beginning.
    expect([undone, await mine.collection(Accounts).count()]).toEqual([begun, 0]);
  });

  test('its isolation is as asked: both that read what the other writes commit only on snapshots', async () => {
    const mine = fresh();
    const accounts = mine.collection(Accounts);
    const { backend, pool } = databaseOf(storage);
    const { transactions } = backend.capabilities;
    /** How many of two took 1, where each may do so only while there are 2. */
    const taken = async (isolation: 'serializable' | 'snapshot'): Promise<number> => {
      await accounts.saveMany(['a', 'b'].map((id) => ({ id, value: { balance: 1 } })));
      let arrived = 0;
      let meet = (): void => undefined;
      const met = new Promise<void>((resolve) => (meet = resolve));
      const take = (id: string) =>
        mine.transaction(
          async (tx) => {
            const all = await tx.collection(Accounts).count({ balance: 1 });
            if (++arrived === 2) meet();
            // On one connection the second does not begin before the first has ended.
            if (pool.figures().max > 1) await met;
            if (all === 2) await tx.collection(Accounts).increment(id, 'balance', -1);
          },
          { isolation },
        );
      await Promise.all([take('a'), take('b')]);
      return accounts.count({ balance: 0 });
    };
    if (transactions === 'serializable') expect(await taken('serializable')).toBe(1);
    else expect(code('UNSUPPORTED')(await refused(taken('serializable')))).toBe(true);
    const onSnapshots = await taken('snapshot');
    if (transactions === 'snapshot') expect(onSnapshots).toBe(2);
    else expect([1, 2]).toContain(onSnapshots);
  });

  if (server)
    test('a record that goes to another page meanwhile is met once', async () => {
      const mine = fresh();
      const accounts = mine.collection(Accounts);
      await accounts.load(Array.from({ length: 450 }, (_, i) => ({ id: `r${i}`, value: { balance: i } })));
      let move = (): void => undefined;
      // Begun here it is no part of the transaction.
      const moved = new Promise<void>((resolve) => (move = resolve)).then(() =>
        accounts.patch('r5', { set: { balance: 1_000 } }),
      );
      const met = await mine.transaction(
        async (tx) => {
          const ids: string[] = [];
          for await (const { id } of tx.collection(Accounts).each({}, { sort: { balance: 'asc' } })) {
            if (ids.push(id) !== 100) continue;
            move();
            await moved;
          }
          return ids;
        },
        { isolation: 'snapshot' },
      );
      expect([met.length, new Set(met).size, (await accounts.get('r5')).value.balance]).toEqual([450, 450, 1_000]);
    });

  test('transfers between accounts keep the sum', async () => {
    const mine = fresh();
    const accounts = mine.collection(Accounts);
    await accounts.saveMany(['a', 'b', 'c'].map((id) => ({ id, value: { balance: 100 } })));
    const move = (from: string, to: string, amount: number) =>
      mine.transaction(async (tx) => {
        const all = tx.collection(Accounts);
        const [source, target] = await all.getMany([from, to]);
        await all.replace(from, { balance: source!.value.balance - amount });
        await all.replace(to, { balance: target!.value.balance + amount });
      });
    await Promise.all(Array.from({ length: 12 }, (_, i) => move('abc'[i % 3]!, 'abc'[(i + 1) % 3]!, i)));
    const left = (await accounts.list()).items.map(({ value }) => value.balance);
    expect(left.reduce((sum, balance) => sum + balance, 0)).toBe(300);
  });
});

test('a thousand seeded schedules are serializable', async () => {
  for (let seed = 0; seed < 1_000; seed++) {
    await using storage = await openStorage({ databases: { main: { url: 'memory:', seed } } });
    const accounts = storage.collection(Accounts);
    await accounts.saveMany(['a', 'b'].map((id) => ({ id, value: { balance: 1 } })));
    const take = (id: string) =>
      storage.transaction(async (tx) => {
        if ((await tx.collection(Accounts).count({ balance: 1 })) === 2)
          await tx.collection(Accounts).replace(id, { balance: 0 });
      });
    await Promise.all([take('a'), take('b'), take('a')]);
    const left = await accounts.count({ balance: 1 });
    if (left !== 1) throw new Error(`seed ${seed}: ${left} accounts left`);
  }
  expect.assertions(0);
});
