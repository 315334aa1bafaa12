/** A relay whose database is slow to answer, or refuses to be read. The clock is the test's. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { StorageError, type DeliveryContext, type OutboxMessage, type RelayOptions } from '../src/index.js';
import type { FindRequest, RecordBackend, Stored } from '../src/backends/backend.js';
import { ALL } from '../src/filter/syntax.js';
import type { StorageManager } from '../src/manager.js';
import { LANES, MESSAGES } from '../src/unit-of-work/outbox/records.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { enqueue } from './support/outbox.js';
import { gate } from './support/postgres/fixture.js';
import { sharedMemory } from './support/shared-memory.js';

interface Delivery extends DeliveryContext {
  readonly key: string;
  readonly end: () => void;
}

let clock: ManualClock;
let storage: StorageManager;
let backend: RecordBackend;
let deliveries: Delivery[];
let handlers: RelayOptions['handlers'];

beforeEach(async () => {
  clock = new ManualClock();
  storage = await sharedMemory(7, clock)();
  ({ backend } = databaseOf(storage));
  deliveries = [];
  const hold = ({ key }: OutboxMessage, context: DeliveryContext): Promise<void> =>
    new Promise((end) =>
      deliveries.push({ key, attempt: context.attempt, token: context.token, signal: context.signal, end }),
    );
  handlers = { mail: hold };
});

afterEach(async () => {
  jest.restoreAllMocks();
  deliveries.forEach(({ end }) => end());
  await storage.close();
});

async function rest(): Promise<void> {
  for (let i = 0; i < 50; i++) await settled();
}

function lanes(): Promise<Stored[]> {
  const request: FindRequest = { collection: LANES, filter: ALL, sort: [], limit: 10 };
  return backend.find('all', request, { now: clock.now(), deadline: Infinity });
}

test('a message that cannot be read is no dead letter: no delivery of it has begun', async () => {
  const find = backend.find.bind(backend);
  const reading = jest.spyOn(backend, 'find').mockImplementation(async (scope, request, context) => {
    if (request.collection.name === MESSAGES.name) throw new StorageError('TIMEOUT', 'locked');
    return find(scope, request, context);
  });
  const [faults, failures]: unknown[][] = [[], []];
  const noted = {
    onError: (error: unknown) => faults!.push(error),
    onFailure: (failure: unknown) => failures!.push(failure),
  };
  await enqueue(storage, 'ann', 1);
  const relay = storage.outbox.relay({
    handlers,
    ...noted,
    maxAttempts: 2,
    poll: 100,
    backoff: { base: 100, max: 2_000 },
  });
  await clock.advance(60_000);
  expect(faults!.length).toBeGreaterThan(4);
  // It is left alone for longer and longer.
  expect(faults!.length).toBeLessThan(100);
  expect([failures, deliveries]).toEqual([[], []]);
  reading.mockRestore();
  await clock.advance(5_000);
  expect(deliveries).toMatchObject([{ key: 'ann', attempt: 1 }]);
  deliveries[0]!.end();
  await relay.stop();
});

test('a head that could not be read once is read again after its rest, however long the relay waits between looks', async () => {
  const find = backend.find.bind(backend);
  const reading = jest.spyOn(backend, 'find').mockImplementation(async (scope, request, context) => {
    if (request.collection.name !== MESSAGES.name) return find(scope, request, context);
    reading.mockRestore();
    throw new StorageError('TIMEOUT', 'locked');
  });
  await enqueue(storage, 'ann', 1);
  const options = { handlers, poll: 3_600_000, backoff: { base: 100, max: 100 }, onError: () => undefined };
  const relay = storage.outbox.relay(options);
  await clock.advance(200);
  await rest();
  expect(deliveries).toMatchObject([{ key: 'ann', attempt: 1 }]);
  deliveries[0]!.end();
  await relay.stop();
});

test.each([
  ['one key', ['ann']],
  ['two keys, whose heads are read together', ['ann', 'bob']],
])('a handler that stops its relay at once is given up: %s', async (_, keys) => {
  for (const key of keys) await enqueue(storage, key, 1);
  const stopped = gate();
  const signals: AbortSignal[] = [];
  const relay = storage.outbox.relay({
    handlers: {
      mail: (_message, { signal }) => {
        signals.push(signal);
        void relay.stop({ deadline: 0 }).then(() => stopped.open());
        return new Promise(() => undefined);
      },
    },
  });
  await stopped.passed;
  expect(signals.map(({ aborted }) => aborted)).toEqual(signals.map(() => true));
  expect((await lanes()).map(({ value }) => value['attempts'])).toEqual(keys.map(() => 0));
});

test('a lease of which a slow claim has left little is renewed in time', async () => {
  const [claimed, answered] = [gate(), gate()];
  const write = backend.write.bind(backend);
  await enqueue(storage, 'ann', 1);
  const claiming = jest.spyOn(backend, 'write').mockImplementation(async (scope, writes, context) => {
    const results = await write(scope, writes, context);
    if (writes[0]!.collection.name !== LANES.name) return results;
    claiming.mockRestore();
    claimed.open();
    await answered.passed;
    return results;
  });
  const relay = storage.outbox.relay({ handlers, lease: 3_000, timeout: 60_000 });
  await claimed.passed;
  await clock.advance(2_300);
  answered.open();
  await rest();
  expect(deliveries).toHaveLength(1);
  await clock.advance(20_000);
  expect(deliveries.map(({ attempt, signal }) => [attempt, signal.aborted])).toEqual([[1, false]]);
  deliveries[0]!.end();
  await relay.stop();
  expect(relay.status()).toMatchObject({ delivered: 1, failed: 0 });
});

test('a relay that is stopped while it looks claims nothing of what the look finds', async () => {
  const [looking, answered] = [gate(), gate()];
  const find = backend.find.bind(backend);
  await enqueue(storage, 'ann', 1);
  const looks = jest.spyOn(backend, 'find').mockImplementation(async (scope, request, context) => {
    const found = await find(scope, request, context);
    looking.open();
    await answered.passed;
    return found;
  });
  const relay = storage.outbox.relay({ handlers });
  await looking.passed;
  const stopped = relay.stop({ deadline: 0 });
  answered.open();
  await stopped;
  looks.mockRestore();
  expect((await lanes()).map(({ version, value }) => [version, value['token'], value['attempts']])).toEqual([
    [1, 0, 0],
  ]);
  expect(deliveries).toEqual([]);
});

test('what commits while others are delivered is met at the first free place, also behind what an earlier look has found', async () => {
  for (const key of ['a', 'b', 'c']) await enqueue(storage, key, 1);
  const relay = storage.outbox.relay({ handlers, concurrency: 2, poll: 3_600_000 });
  await rest();
  expect(deliveries).toHaveLength(2);
  await enqueue(storage, 'late', 1);
  await rest();
  deliveries.splice(0).forEach(({ end }) => end());
  // As long as free places wait for each other.
  await clock.advance(20);
  await rest();
  expect(deliveries.map(({ key }) => key)).toContain('late');
  deliveries.forEach(({ end }) => end());
  await relay.stop();
});
