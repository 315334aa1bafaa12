/** What the compiler knows of messages: their payloads by topic, said once for who leaves and who receives them. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openStorage, type OutboxMessage, type RelayOptions, type TransactionOutbox } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';

interface Messages {
  mail: { readonly to: string };
  count: number;
}

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

test('payloads are typed by topic', async () => {
  const seen: unknown[] = [];
  let finished = (): void => undefined;
  const done = new Promise<void>((resolve) => (finished = resolve));
  const see = (what: string | number): void => {
    if (seen.push(what) === 3) finished();
  };
  const relay = storage.outbox.relay<Messages>({
    handlers: {
      mail: ({ payload }) => see(payload.to.toUpperCase()),
      count: ({ payload }) => see(payload + 1),
    },
  });
  const other = storage.outbox.relay({
    // A handler can say it by itself.
    handlers: { other: ({ payload }: OutboxMessage<{ n: number }>) => see(payload.n * 2) },
  });
  await storage.transaction(async (tx) => {
    await tx.outbox.enqueue<Messages>({ topic: 'mail', key: 'a', payload: { to: 'ann' } });
    await tx.outbox.enqueueMany<Messages>([{ topic: 'count', key: 'a', payload: 1 }]);
    await tx.outbox.enqueue({ topic: 'other', key: 'a', payload: { n: 2 } });
  });
  await done;
  await Promise.all([relay.stop(), other.stop()]);
  expect(seen).toEqual(expect.arrayContaining(['ANN', 2, 4]));
});

test('what does not fit a topic does not compile', () => {
  const options: RelayOptions<Messages>[] = [
    // @ts-expect-error a topic that there is not
    { handlers: { post: () => undefined } },
    // @ts-expect-error a payload of another topic
    { handlers: { mail: ({ payload }: OutboxMessage<number>) => payload } },
  ];
  const wrong: readonly ((outbox: TransactionOutbox) => unknown)[] = [
    // @ts-expect-error the payload of another topic
    (outbox) => outbox.enqueue<Messages>({ topic: 'mail', key: 'a', payload: 1 }),
    // @ts-expect-error a topic that there is not
    (outbox) => outbox.enqueue<Messages>({ topic: 'post', key: 'a', payload: 1 }),
    // @ts-expect-error one among several
    (outbox) => outbox.enqueueMany<Messages>([{ topic: 'count', key: 'a', payload: 'x' }]),
    // @ts-expect-error no payload
    (outbox) => outbox.enqueue({ topic: 'mail', key: 'a' }),
  ];
  expect([options.length, wrong.length]).toEqual([2, 4]);
});
