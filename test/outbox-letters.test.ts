/** What is not delivered: dead letters, the list of what waits, and what the health report says of it. */
import { describe, expect, test } from '@jest/globals';
import {
  openStorage,
  type DeliveryFailure,
  type OutboxListOptions,
  type OutboxMessage,
  type RelayOptions,
} from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { settled } from './support/manual-clock.js';
import { emptied, enqueue, kept } from './support/outbox.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';
import { useStorage } from './support/use-storage.js';

describe.each(storageTargets('letters of the outbox').filter(({ transactions }) => transactions))(
  'letters of the outbox on $name',
  (target) => {
    const storage = useStorage(target);

    test('a poison message becomes a dead letter that holds its key back, and no other', async () => {
      const tally = new Tally<string>();
      const failures = new Tally<boolean>();
      let cured = false;
      const options: RelayOptions = {
        handlers: {
          mail: async ({ key, payload }) => {
            if (payload === 'poison' && !cured)
              throw Object.assign(new Error('the mail server said no'), { code: 'E_POISON' });
            tally.add(`${key} ${payload as string}`);
          },
        },
        poll: 2,
        maxAttempts: 3,
        backoff: { base: 1, max: 2 },
        onFailure: ({ dead }) => failures.add(dead),
      };
      await using relay = storage().outbox.relay(options);
      await enqueue(storage(), 'ann', 'poison');
      await enqueue(storage(), 'ann', 'next');
      await enqueue(storage(), 'bob', 'other');
      await failures.until(3);
      await tally.until(1);
      expect([failures.seen, tally.seen]).toEqual([[false, false, true], ['bob other']]);
      const { items, ...pages } = await storage().outbox.list({ state: 'dead' });
      const [letter, ...others] = items;
      expect([others, pages]).toEqual([[], {}]);
      expect(letter).toMatchObject({ key: 'ann', payload: 'poison', attempts: 3, error: 'the mail server said no' });
      expect(letter!.deadAt).toBeInstanceOf(Date);
      cured = true;
      await storage().outbox.retry(letter!);
      await tally.until(3);
      expect(tally.seen.slice(1)).toEqual(['ann poison', 'ann next']);
      await emptied(storage());
      await relay.stop();
      expect(relay.status()).toMatchObject({ delivered: 3, failed: 3, dead: 1 });
      expect(await kept(storage())).toEqual([0, 0, 0]);
      await expect(storage().outbox.retry(letter!)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('a dead letter that is dropped lets its key go on', async () => {
      const tally = new Tally<unknown>();
      const failures = new Tally<boolean>();
      await using relay = storage().outbox.relay({
        handlers: {
          mail: async ({ payload }) => {
            if (payload === 'poison') throw new Error('no');
            tally.add(payload);
          },
        },
        maxAttempts: 1,
        onFailure: ({ dead }) => failures.add(dead),
      });
      await enqueue(storage(), 'ann', 'poison');
      await enqueue(storage(), 'ann', 'next');
      await failures.until(1);
      const [letter] = (await storage().outbox.list({ state: 'dead' })).items;
      await expect(storage().outbox.drop({ tenant: 'other', id: letter!.id })).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      await storage().outbox.drop(letter!);
      await tally.until(1);
      await emptied(storage());
      await relay.stop();
      expect(tally.seen).toEqual(['next']);
      expect(await kept(storage())).toEqual([0, 0, 0]);
    });

    test('lists what is not delivered, page by page', async () => {
      const failures = new Tally<boolean>();
      for (const n of [1, 2, 3]) await enqueue(storage().tenant('one'), 'ann', n);
      await enqueue(storage().tenant('two'), 'bob', 4, 'page');
      const relay = storage().outbox.relay({
        handlers: { page: () => Promise.reject(Object.assign(new Error('no'), { code: 'E_NO' })) },
        maxAttempts: 1,
        onFailure: ({ dead }) => failures.add(dead),
      });
      await failures.until(1);
      await relay.stop();
      const seen = [];
      for (let after: string | undefined; ;) {
        const { items, next } = await storage().outbox.list({ limit: 2, after });
        seen.push(...items);
        if (next === undefined) break;
        after = next;
      }
      const waiting = { tenant: 'one', topic: 'mail', key: 'ann', state: 'waiting', attempts: 0 };
      const dead = { tenant: 'two', topic: 'page', payload: 4, state: 'dead', attempts: 1, error: 'no' };
      expect(seen).toMatchObject([waiting, waiting, waiting, { ...dead, deadAt: expect.any(Date) }]);
      expect(seen.map(({ payload }) => payload).sort()).toEqual([1, 2, 3, 4]);
      const ofList = async (options: OutboxListOptions): Promise<unknown[]> =>
        (await storage().outbox.list(options)).items.map(({ payload }) => payload).sort();
      expect(await ofList({ state: 'waiting' })).toEqual([1, 2, 3]);
      expect(await ofList({ state: 'dead' })).toEqual([4]);
      expect(await ofList({ topic: 'page' })).toEqual([4]);
      expect(await ofList({ tenant: 'one' })).toEqual([1, 2, 3]);
      expect(await ofList({ tenant: 'one', state: 'dead' })).toEqual([]);
      const { next } = await storage().outbox.list({ limit: 2 });
      await expect(storage().outbox.list({ limit: 2, tenant: 'one', after: next })).rejects.toMatchObject({
        code: 'INVALID_CURSOR',
      });
      for (const options of [{ state: 'delivered' }, { topic: 'No' }, { tenant: '' }, { limit: 0 }])
        await expect(storage().outbox.list(options as OutboxListOptions)).rejects.toMatchObject({ code: 'VALIDATION' });

      const tally = new Tally<unknown>();
      const note = async ({ payload }: OutboxMessage): Promise<void> => tally.add(payload);
      expect([await storage().outbox.dropAll({ topic: 'mail' }), await storage().outbox.retryAll()]).toEqual([0, 1]);
      await using last = storage().outbox.relay({ handlers: { mail: note, page: note } });
      await tally.until(4);
      await emptied(storage());
      await last.stop();
      expect(await kept(storage())).toEqual([0, 0, 0]);
    });

    test('an error that is said to be permanent makes a dead letter at once; letters are dropped by topic', async () => {
      const failures = new Tally<DeliveryFailure>();
      const relay = storage().outbox.relay({
        handlers: { mail: () => Promise.reject(Object.assign(new Error('no such address'), { retryable: false })) },
        onFailure: (failure) => failures.add(failure),
      });
      for (const key of ['ann', 'bob']) await enqueue(storage(), key, 1);
      await failures.until(2);
      await relay.stop();
      expect(failures.seen).toMatchObject([
        { attempt: 1, dead: true },
        { attempt: 1, dead: true },
      ]);
      expect(await storage().outbox.dropAll({ topic: 'page' })).toBe(0);
      expect(await storage().outbox.dropAll({ topic: 'mail' })).toBe(2);
      // The keys' lanes, which are empty now, are the next relay's to delete.
      const tally = new Tally<unknown>();
      for (const key of ['ann', 'bob']) await enqueue(storage(), key, 2);
      await using last = storage().outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) } });
      await tally.until(2);
      await emptied(storage());
      await last.stop();
      expect(await kept(storage())).toEqual([0, 0, 0]);
    });

    test('options that there are not are refused: a misspelt one selects no letter of another', async () => {
      const failures = new Tally<unknown>();
      const relay = storage().outbox.relay({
        handlers: { mail: () => Promise.reject(new Error('no')) },
        maxAttempts: 1,
        onFailure: (failure) => failures.add(failure),
      });
      for (const tenant of ['one', 'two']) await enqueue(storage().tenant(tenant), 'ann', tenant);
      await failures.until(2);
      await relay.stop();
      const { outbox } = storage();
      const wrong = <O>(options: unknown): O => options as O;
      for (const options of [{ tenantId: 'one' }, { topics: 'mail' }, null, 'mail']) {
        const key = options === null || options === 'mail' ? 'options' : `options.${Object.keys(options as object)[0]}`;
        const refusal = { code: 'VALIDATION', details: { key } };
        for (const call of [
          () => outbox.dropAll(wrong(options)),
          () => outbox.retryAll(wrong(options)),
          () => outbox.list(wrong(options)),
          () => outbox.backlog(wrong(options)),
          () => outbox.drop({ tenant: 'one', id: 'a' }, wrong(options)),
          () => outbox.retry({ tenant: 'one', id: 'a' }, wrong(options)),
        ])
          await expect(call()).rejects.toMatchObject(refusal);
      }
      for (const letter of [undefined, null, 'a'])
        for (const call of [() => outbox.drop(wrong(letter)), () => outbox.retry(wrong(letter))])
          await expect(call()).rejects.toMatchObject({ code: 'VALIDATION', details: { key: 'letter' } });
      expect(await outbox.dropAll({ tenant: 'one', on: 'main', timeout: 60_000 })).toBe(1);
      expect((await outbox.list()).items).toMatchObject([{ tenant: 'two', state: 'dead' }]);
      expect(await outbox.dropAll()).toBe(1);
    });

    test('the health report has its figures, and is degraded by what waits too long or is dead', async () => {
      const { url, drop: end } = await target.prepare();
      const settings = { databases: { main: url }, health: { cache: 0 }, outbox: { maxAge: 1 } };
      const figures = async (manager: StorageManager) => {
        const { status, details, critical } = (await manager.health()).components['outbox:main']!;
        expect([critical, (await manager.ready()).ok]).toEqual([false, true]);
        return { status, ...details };
      };
      // Figures are read at most every 30 seconds, so each look is another manager's.
      const look = async (work: (manager: StorageManager) => Promise<void>) => {
        const manager = await openStorage(settings, { environment: {} });
        const before = await figures(manager);
        await work(manager);
        const after = await figures(manager);
        await manager.close();
        return [before, after];
      };
      const unused = { status: 'healthy' };
      expect(await look(async () => undefined)).toEqual([unused, unused]);
      const failures = new Tally<boolean>();
      const [before, after] = await look(async (manager) => {
        await enqueue(manager, 'ann', 'poison');
        const relay = manager.outbox.relay({
          handlers: { mail: () => Promise.reject(new Error('no')) },
          maxAttempts: 1,
          onFailure: ({ dead }) => failures.add(dead),
        });
        await failures.until(1);
        await relay.stop();
        await enqueue(manager, 'ann', 'next');
        const { oldest } = await manager.outbox.backlog();
        while (Date.now() - oldest!.getTime() < 50) await settled();
      });
      expect(before).toEqual(unused);
      expect(after).toEqual({ status: 'degraded', waiting: 1, dead: 1, oldestMs: expect.any(Number) });
      await end();
    });
  },
);
