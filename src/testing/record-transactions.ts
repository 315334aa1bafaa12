/** Transactions of a backend's pool: wholly or not at all, and serializable. */
import assert from 'node:assert/strict';
import { systemClock } from '../clock.js';
import type { Session } from '../component.js';
import { isSerializationFailure, isStorageError } from '../errors.js';
import { defineCollection } from '../collection/definition.js';
import type { Collection } from '../collection/collection.js';
import { letRead } from './outside-read.js';
import { collectionOn, contextAt, freshTenant, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

interface Account {
  balance: number;
  owner?: string;
}

const Accounts = defineCollection<Account>({
  name: 'test_accounts',
  fields: { balance: 'number', owner: 'string' },
  unique: [{ name: 'byOwner', fields: ['owner'] }],
  id: 'given',
});

export function describeTransactions(runner: TestRunner, target: () => OpenRecords): void {
  const { describe } = runner;
  /** A test of transactions, which a backend without them must refuse. */
  const test = (name: string, body: () => Promise<void>): void =>
    runner.test(name, async () => {
      const { capabilities, pool } = target().backend;
      if (capabilities.transactions !== 'none') return body();
      const context = contextAt(new Date());
      const isUnsupported = (error: unknown): boolean => isStorageError(error, 'UNSUPPORTED');
      let ran = false;
      await assert.rejects(
        pool.transaction({ context }, () => Promise.resolve((ran = true))),
        isUnsupported,
      );
      assert.equal(ran, false);
    });
  const within = async <R>(
    tenant: string,
    work: (accounts: Collection<Account>, session: Session) => Promise<R>,
  ): Promise<R> => {
    const { backend } = target();
    for (let attempt = 0; ; attempt++) {
      try {
        return await backend.pool.transaction({ context: contextAt(new Date()) }, (session) =>
          work(collectionOn(backend, Accounts, tenant, systemClock, session), session),
        );
      } catch (error) {
        if (!isSerializationFailure(error) || attempt === 20) throw error;
      }
    }
  };
  const outside = async (tenant: string): Promise<Collection<Account>> => {
    await target().backend.ensure([Accounts.schema], contextAt(new Date()));
    return collectionOn(target().backend, Accounts, tenant);
  };

  describe('transactions', () => {
    test('what is written is seen inside at once, and outside after the commit', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      await within(tenant, async (inside) => {
        await inside.insert({ balance: 5 }, { id: 'a' });
        assert.equal((await inside.get('a')).value.balance, 5);
      });
      assert.equal((await accounts.get('a')).value.balance, 5);
    });

    test('many records are changed, claimed and summed up as they are inside, and as before when it is undone', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      for (const id of ['a', 'b', 'c']) await accounts.insert({ balance: 1 }, { id });
      const fault = new Error('changed my mind');
      await assert.rejects(
        within(tenant, async (inside) => {
          await inside.patch('a', { set: { balance: 10 } });
          assert.equal(await inside.updateWhere({ balance: 1 }, { increment: { balance: 1 } }), 2);
          const [taken] = await inside.claim({}, { increment: { balance: 5 } }, { sort: { balance: 'desc' } });
          assert.deepEqual(taken?.value, { balance: 15 });
          const [row] = await inside.aggregate({}, { numbers: ['balance'] });
          assert.deepEqual(row?.numbers['balance'], { count: 3, sum: 19, min: 2, max: 15, average: 19 / 3 });
          throw fault;
        }),
        (error) => error === fault,
      );
      const [row] = await accounts.aggregate({}, { numbers: ['balance'] });
      assert.equal(row?.numbers['balance']?.sum, 3);
    });

    test('an error undoes everything, and nobody else has seen any of it', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      await accounts.insert({ balance: 1 }, { id: 'a' });
      const fault = new Error('changed my mind');
      const look = (): Promise<unknown[]> =>
        Promise.all([accounts.get('a'), accounts.has('b'), accounts.count(), accounts.query({ balance: 2 })]);
      const before = await look();
      const seen: Promise<unknown[]>[] = [];
      await assert.rejects(
        within(tenant, async (inside) => {
          await inside.replace('a', { balance: 2 });
          await inside.insert({ balance: 3 }, { id: 'b' });
          const others = look();
          seen.push(others);
          await letRead(others);
          throw fault;
        }),
        (error) => error === fault,
      );
      for (const others of seen) assert.deepEqual(await others, before);
      assert.deepEqual(await look(), before);
    });

    test('a refused condition leaves the transaction usable', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      await accounts.insert({ balance: 1 }, { id: 'a' });
      await within(tenant, async (inside) => {
        await assert.rejects(inside.insert({ balance: 2 }, { id: 'a' }), (error) =>
          isStorageError(error, 'ALREADY_EXISTS'),
        );
        await assert.rejects(
          inside.saveMany([
            { id: 'c', value: { balance: 1 } },
            { id: 'a', value: { balance: Number.NaN } },
          ]),
          (error) => isStorageError(error, 'VALIDATION'),
        );
        await assert.rejects(inside.delete('nobody'), (error) => isStorageError(error, 'NOT_FOUND'));
        await inside.insert({ balance: 3 }, { id: 'b' });
      });
      assert.deepEqual(
        (await accounts.list()).items.map(({ id }) => id),
        ['a', 'b'],
      );
    });

    test('a batch that is refused inside leaves nothing of itself', async () => {
      const tenant = freshTenant();
      const { backend } = target();
      const accounts = await outside(tenant);
      await accounts.insert({ balance: 1 }, { id: 'b' });
      await backend.pool.transaction({ context: contextAt(new Date()) }, async (session) => {
        const results = await backend.write(
          { tenant },
          [
            { collection: Accounts.schema, kind: 'insert', id: 'a', value: { balance: 1 } },
            { collection: Accounts.schema, kind: 'insert', id: 'b', value: { balance: 2 } },
          ],
          contextAt(new Date(), session),
        );
        assert.deepEqual(
          results.map(({ status }) => status),
          ['skipped', 'exists'],
        );
      });
      assert.equal(await accounts.has('a'), false);
    });

    test('a broken constraint fails the transaction, even if the function goes on', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      await accounts.insert({ balance: 1, owner: 'ann' }, { id: 'a' });
      await assert.rejects(
        within(tenant, async (inside) => {
          await inside.insert({ balance: 9 }, { id: 'x' });
          await inside.insert({ balance: 2, owner: 'ann' }, { id: 'b' }).catch(() => undefined);
        }),
        (error) => isStorageError(error, 'ALREADY_EXISTS') && error.details['constraint'] === 'byOwner',
      );
      assert.deepEqual(
        (await accounts.list()).items.map(({ id }) => id),
        ['a'],
      );
    });

    test('read-modify-write by many loses nothing', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      await accounts.insert({ balance: 0 }, { id: 'a' });
      await Promise.all(
        Array.from({ length: 8 }, () =>
          within(tenant, async (inside) => {
            const { value } = await inside.get('a');
            await inside.replace('a', { balance: value.balance + 1 });
          }),
        ),
      );
      assert.equal((await accounts.get('a')).value.balance, 8);
    });

    test('two that each read what the other writes do not both commit on what they read, unless they see snapshots', async () => {
      const tenant = freshTenant();
      const accounts = await outside(tenant);
      await accounts.saveMany([
        { id: 'a', value: { balance: 1 } },
        { id: 'b', value: { balance: 1 } },
      ]);
      // Each may take 1 from its account only while both hold 2 together.
      const take = (id: 'a' | 'b'): Promise<void> =>
        within(tenant, async (inside) => {
          const all = (await inside.query({ balance: { $gt: 0 } })).items;
          if (all.length === 2) await inside.increment(id, 'balance', -1);
        });
      await Promise.all([take('a'), take('b')]);
      // A snapshot lets both commit, since neither wrote what the other did.
      const most = target().backend.capabilities.transactions === 'serializable' ? 1 : 2;
      const taken = await accounts.count({ balance: 0 });
      assert.ok(taken >= 1 && taken <= most, `${taken} committed`);
    });

    test('a session that has ended is refused', async () => {
      const tenant = freshTenant();
      await outside(tenant);
      let late: Collection<Account> | undefined;
      await within(tenant, async (inside) => {
        late = inside;
      });
      await assert.rejects(late!.get('a'), (error) => isStorageError(error, 'CLOSED'));
    });
  });
}
