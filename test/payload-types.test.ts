/** What the compiler knows of payloads: of messages by their topics, of runs by the names of their jobs. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  openStorage,
  type ClaimedRun,
  type OutboxMessage,
  type RelayOptions,
  type RunHandlers,
  type TransactionOutbox,
} from '../src/index.js';
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

test('runs are typed by the names of their jobs', async () => {
  interface Runs {
    mail: { readonly to: string };
    sum: readonly number[];
  }
  const { jobs } = storage;
  const worker = jobs.work<Runs>({
    mail: ({ payload }) => payload.to.toUpperCase(),
    sum: ({ payload }) => payload.reduce((sum, number) => sum + number, 0),
  });
  const other = jobs.work({ other: ({ payload }: ClaimedRun<{ n: number }>) => payload.n * 2 });
  const payloads = { mail: { to: 'ann' }, sum: [1, 2], other: { n: 2 } };
  const results: unknown[] = [];
  for (const [name, payload] of Object.entries(payloads)) {
    const job = await jobs.create({ name });
    const { id } = await jobs.enqueueRun(job.id, { payload });
    for await (const { type } of jobs.watchEvents(id)) if (type === 'job.run_succeeded') break;
    results.push((await jobs.getRun(id)).result);
  }
  await Promise.all([worker.stop(), other.stop()]);
  expect(results).toEqual(['ANN', 3, 4]);
  const wrong: RunHandlers<Runs>[] = [
    // @ts-expect-error a job that there is not
    { post: () => undefined },
    // @ts-expect-error a payload of another job
    { mail: ({ payload }: ClaimedRun<number>) => payload },
  ];
  expect(wrong).toHaveLength(2);
});

test('a handler that is not there is none', async () => {
  const mail: (() => void) | undefined = undefined;
  const relay = storage.outbox.relay({ handlers: { mail, count: () => undefined } });
  const worker = storage.jobs.work({ mail, count: () => undefined });
  await Promise.all([relay.stop(), worker.stop()]);
  expect(() => storage.outbox.relay({ handlers: { mail } })).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
  expect(() => storage.jobs.work({ mail })).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
  // Whoever makes a run by hand, for a test of a handler, need not say that there is no payload.
  const payload: Pick<ClaimedRun, 'payload'> = {};
  expect(payload).toEqual({});
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
