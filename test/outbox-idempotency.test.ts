/** One message under one idempotency key. */
import { describe, expect, test } from '@jest/globals';
import type { Enqueued, NewMessage, OutboxMessage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { ManualClock } from './support/manual-clock.js';
import { emptied, kept } from './support/outbox.js';
import { sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';
import { useStorage } from './support/use-storage.js';

describe.each(storageTargets('idempotency keys of the outbox').filter(({ transactions }) => transactions))(
  'idempotency keys of the outbox on $name',
  (target) => {
    const storage = useStorage(target);

    test('the same idempotency key leaves one message, and other content under it is refused', async () => {
      const tally = new Tally<unknown>();
      const acme = storage().tenant('acme');
      const leave = (message: Partial<NewMessage>, by: Pick<StorageManager, 'transaction'> = acme): Promise<Enqueued> =>
        by.transaction((tx) =>
          tx.outbox.enqueue({
            topic: 'mail',
            key: 'ann',
            payload: { a: 1, b: [2] },
            idempotencyKey: 'once',
            ...message,
          }),
        );
      const first = await leave({});
      expect(first).toEqual({ id: expect.any(String), duplicate: false });
      const again = { id: first.id, duplicate: true };
      expect(await leave({ payload: { b: [2], a: 1 } })).toEqual(again);
      const conflict = { code: 'CONFLICT', details: { reason: 'idempotency' }, retryable: false };
      await expect(leave({ payload: { a: 2 } })).rejects.toMatchObject(conflict);
      await expect(leave({ key: 'bob' })).rejects.toMatchObject(conflict);
      // Of its tenant and topic alone.
      expect(await leave({ topic: 'page' })).toMatchObject({ duplicate: false });
      expect(await leave({}, storage())).toMatchObject({ duplicate: false });
      await using relay = storage().outbox.relay({
        handlers: {
          mail: async (message) => tally.add(message.idempotencyKey),
          page: async (message) => tally.add(message.idempotencyKey),
        },
      });
      await tally.until(3);
      await emptied(storage());
      await relay.stop();
      expect([tally.seen, await kept(storage())]).toEqual([
        ['once', 'once', 'once'],
        [0, 0, 0],
      ]);
      expect(await leave({})).toEqual(again);
      await expect(leave({ payload: 1 })).rejects.toMatchObject(conflict);
      expect(await kept(storage())).toEqual([0, 0, 0]);
    });

    test('an idempotency key in a run that is rolled back, twice in one transaction, and in several at once', async () => {
      const message = (n: number): NewMessage => ({
        topic: 'mail',
        key: `k${n}`,
        payload: n,
        idempotencyKey: `race ${n}`,
      });
      await storage()
        .transaction(async (tx) => {
          await tx.outbox.enqueue(message(1));
          throw new Error('no');
        })
        .catch(() => undefined);
      const twice = await storage().transaction(async (tx) => [
        await tx.outbox.enqueue(message(1)),
        await tx.outbox.enqueue(message(1)),
      ]);
      expect(twice.map(({ duplicate }) => duplicate)).toEqual([false, true]);
      const race = await Promise.all(
        Array.from({ length: 4 }, () =>
          storage().transaction((tx) => tx.outbox.enqueue(message(2)), { isolation: 'snapshot' }),
        ),
      );
      expect(new Set(race.map(({ id }) => id)).size).toBe(1);
      expect(race.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
      const tally = new Tally<unknown>();
      await using relay = storage().outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) } });
      await tally.until(2);
      await relay.stop();
      expect([tally.seen.sort(), await kept(storage())]).toEqual([
        [1, 2],
        [0, 0, 0],
      ]);
    });

    test('the idempotency key of a message that is dropped is free again', async () => {
      const failures = new Tally<boolean>();
      const leave = (): Promise<Enqueued> =>
        storage().transaction((tx) =>
          tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: 'poison', idempotencyKey: 'dropped' }),
        );
      const relay = storage().outbox.relay({
        handlers: { mail: () => Promise.reject(new Error('no')) },
        maxAttempts: 1,
        onFailure: ({ dead }) => failures.add(dead),
      });
      const { id } = await leave();
      await failures.until(1);
      await relay.stop();
      expect(await leave()).toEqual({ id, duplicate: true });
      await storage().outbox.drop({ tenant: 'default', id });
      expect(await leave()).toMatchObject({ duplicate: false });
      const tally = new Tally<unknown>();
      await using last = storage().outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) } });
      await tally.until(1);
      await emptied(storage());
      await last.stop();
      expect(await kept(storage())).toEqual([0, 0, 0]);
    });
  },
);

test('the idempotency key of a message that is dropped is free to a process whose clock is behind', async () => {
  const [ahead, behind] = [new ManualClock(), new ManualClock()];
  ahead.jump(5_000);
  const open = sharedMemory(3, behind);
  const [first, second] = [await open(ahead), await open()];
  const leave = (storage: StorageManager, payload: number): Promise<Enqueued> =>
    storage.transaction((tx) => tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload, idempotencyKey: 'once' }));
  const failures = new Tally<OutboxMessage>();
  const relay = first.outbox.relay({
    handlers: { mail: () => Promise.reject(new Error('no')) },
    maxAttempts: 1,
    onFailure: ({ message }) => failures.add(message),
  });
  await leave(first, 1);
  await failures.until(1);
  await relay.stop();
  await first.outbox.drop(failures.seen[0]!);
  expect(await leave(second, 2)).toMatchObject({ duplicate: false });
});
