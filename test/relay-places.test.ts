/** The places of a relay: how many handlers run at once, which keys are claimed ahead of them. The clock is the test's. */
import { afterEach, expect, jest, test } from '@jest/globals';
import type { StorageManager } from '../src/manager.js';
import { LANES } from '../src/unit-of-work/outbox/records.js';
import { databaseOf } from './support/open-parts.js';
import { gate } from './support/postgres/fixture.js';
import { advanceUntil, enqueueAll, held, left, openManagers, rest } from './support/relay.js';

afterEach(() => {
  jest.restoreAllMocks();
});

/** Whatever deletes a lane waits until the returned function is called. */
function holdEndings(storage: StorageManager): () => void {
  const { backend } = databaseOf(storage);
  const write = backend.write.bind(backend);
  const { passed, open } = gate();
  jest.spyOn(backend, 'write').mockImplementation(async (scope, writes, context) => {
    if (writes.some(({ collection, kind }) => collection.name === LANES.name && kind === 'delete')) await passed;
    return write(scope, writes, context);
  });
  return open;
}

test('the next key is handled while what was delivered of another is noted', async () => {
  const { clock, managers } = await openManagers(1);
  const [storage] = managers as [StorageManager];
  const release = holdEndings(storage);
  const { deliveries, handlers } = held();
  const relay = storage.outbox.relay({ handlers, concurrency: 1 });
  for (const key of ['ann', 'ben']) await enqueueAll(storage, key, key);
  await rest();
  expect(deliveries).toHaveLength(1);
  deliveries[0]!.end();
  await rest();
  expect(deliveries.map(({ payload }) => payload).sort()).toEqual(['ann', 'ben']);
  expect(relay.status()).toMatchObject({ inFlight: 2, delivered: 1 });
  release();
  deliveries[1]!.end();
  await rest();
  expect(await left(storage, clock)).toBe(0);
  await relay.stop();
});

test('keys that are claimed ahead and wait behind a slow handler are given back, and no others are claimed ahead', async () => {
  const { clock, managers } = await openManagers(2);
  const [own, other] = managers as [StorageManager, StorageManager];
  for (const key of ['ann', 'ben', 'cem', 'dan']) await enqueueAll(own, key, key);
  const first = held();
  const relay = own.outbox.relay({ handlers: first.handlers, concurrency: 1 });
  await rest();
  first.deliveries[0]!.end();
  // The first was quick.
  await advanceUntil(clock, () => relay.status().inFlight === 2, 50);
  expect(first.deliveries).toHaveLength(2);
  await advanceUntil(clock, () => relay.status().inFlight === 1, 200);
  const second = held();
  const helping = other.outbox.relay({ handlers: second.handlers, poll: 50 });
  await advanceUntil(clock, () => second.deliveries.length === 2, 200);
  expect(second.deliveries.map(({ attempt }) => attempt)).toEqual([1, 1]);
  await clock.advance(5_000);
  expect([relay.status().inFlight, first.deliveries.length]).toEqual([1, 2]);
  for (const delivery of [...first.deliveries, ...second.deliveries]) delivery.end();
  await rest();
  expect(await left(own, clock)).toBe(0);
  await Promise.all([relay.stop(), helping.stop()]);
  expect(clock.timers).toBe(0);
});

test('a key that has got another message meanwhile waits for a place, too', async () => {
  const { clock, managers } = await openManagers(1);
  const [storage] = managers as [StorageManager];
  const release = holdEndings(storage);
  const { deliveries, handlers } = held();
  const relay = storage.outbox.relay({ handlers, concurrency: 1 });
  await enqueueAll(storage, 'ann', 1);
  await rest();
  deliveries[0]!.end();
  await rest();
  await enqueueAll(storage, 'ann', 2);
  await enqueueAll(storage, 'ben', 'b');
  await rest();
  expect(deliveries.map(({ payload }) => payload)).toEqual([1, 'b']);
  release();
  // It is given back after a while, and is not lost.
  await clock.advance(200);
  expect([deliveries.length, relay.status().inFlight]).toEqual([2, 1]);
  deliveries[1]!.end();
  await rest();
  expect(deliveries.map(({ payload, attempt }) => [payload, attempt])).toEqual([
    [1, 1],
    ['b', 1],
    [2, 1],
  ]);
  deliveries[2]!.end();
  await rest();
  expect(await left(storage, clock)).toBe(0);
  await relay.stop();
});

test('a stop gives back at once what was claimed ahead', async () => {
  const { clock, managers } = await openManagers(2);
  const [own, other] = managers as [StorageManager, StorageManager];
  for (const key of ['ann', 'ben', 'cem']) await enqueueAll(own, key, key);
  const first = held();
  const relay = own.outbox.relay({ handlers: first.handlers, concurrency: 1 });
  await rest();
  first.deliveries[0]!.end();
  await advanceUntil(clock, () => relay.status().inFlight === 2, 50);
  const stopping = relay.stop();
  await rest();
  expect(relay.status()).toMatchObject({ state: 'stopping', inFlight: 1 });
  const second = held();
  const helping = other.outbox.relay({ handlers: second.handlers });
  await rest();
  expect(second.deliveries.map(({ attempt }) => attempt)).toEqual([1]);
  for (const delivery of [...first.deliveries, ...second.deliveries]) delivery.end();
  await stopping;
  await helping.stop();
  expect(await left(own, clock)).toBe(0);
});

test('handlers that are quick are no more at once than there are places', async () => {
  const { clock, managers } = await openManagers(1);
  const [storage] = managers as [StorageManager];
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  for (const key of keys) await enqueueAll(storage, key, 1, 2);
  const seen = new Map<string, unknown[]>();
  let [running, most] = [0, 0];
  const mail = async ({ key, payload }: { readonly key: string; readonly payload: unknown }): Promise<void> => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => clock.after(5, resolve));
    // Some get another message while they are delivered.
    if (payload === 2) await enqueueAll(storage, key, 3);
    seen.set(key, [...(seen.get(key) ?? []), payload]);
    running--;
  };
  const relay = storage.outbox.relay({ handlers: { mail }, concurrency: 3 });
  await advanceUntil(clock, () => relay.status().delivered === 3 * keys.length, 60_000);
  expect(most).toBe(3);
  expect([...seen.values()]).toEqual(keys.map(() => [1, 2, 3]));
  await rest();
  expect(await left(storage, clock)).toBe(0);
  await relay.stop();
});
