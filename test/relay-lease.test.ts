/** A relay that is cut off from its database, or too slow for its leases: when another may have a key, it delivers no more. */
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from '@jest/globals';
import { openStorage, TimeoutError, type OutboxMessage, type Relay, type StorageManager } from '../src/index.js';
import { MESSAGES } from '../src/unit-of-work/outbox/records.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { enqueue, kept } from './support/outbox.js';
import { describeServer, Fixture, gate, serverUrl, until } from './support/postgres/fixture.js';
import { Proxy } from './support/proxy.js';
import { sharedMemory } from './support/shared-memory.js';

const LEASE = 30_000;

describe('a lease', () => {
  test('that ended before its messages were read is asked for again: who has lost it delivers nothing', async () => {
    const clock = new ManualClock();
    const open = sharedMemory(3, clock);
    const [slow, other] = [await open(), await open()];
    const { passed, open: go } = gate();
    const { backend } = databaseOf(slow);
    const find = backend.find.bind(backend);
    let reads = 0;
    backend.find = async (scope, request, context) => {
      const found = await find(scope, request, context);
      if (request.collection === MESSAGES && ++reads === 1) await passed;
      return found;
    };
    const told: unknown[] = [];
    const relayOf = (name: string, storage: StorageManager, until?: Promise<void>): Relay =>
      storage.outbox.relay({
        handlers: { mail: async ({ payload }) => void (told.push([name, payload]), await until) },
        ...{ lease: LEASE, poll: 1_000, timeout: 10 * LEASE, onError: () => undefined },
      });
    const late = gate();
    const first = relayOf('slow', slow);
    await enqueue(slow, 'ann', 1);
    for (let i = 0; i < 50 && reads === 0; i++) await settled();
    backend.write = () => Promise.reject(new Error('cut off'));
    const second = relayOf('other', other, late.passed);
    await clock.advance(LEASE + 5_000);
    expect(told).toEqual([['other', 1]]);
    go();
    for (let i = 0; i < 50; i++) await settled();
    expect(told).toEqual([['other', 1]]);
    late.open();
    await Promise.all([first.stop(), second.stop()]);
    expect([await kept(other), clock.timers]).toEqual([[0, 0, 0], 0]);
  });

  test('that ended before its messages were read, and is nobody else’s, is gone on with', async () => {
    const clock = new ManualClock();
    const slow = await sharedMemory(3, clock)();
    const { passed, open: go } = gate();
    const { backend } = databaseOf(slow);
    const find = backend.find.bind(backend);
    backend.find = async (scope, request, context) => {
      const found = await find(scope, request, context);
      if (request.collection === MESSAGES) await passed;
      return found;
    };
    const attempts: number[] = [];
    const relay = slow.outbox.relay({
      handlers: { mail: (_message, { attempt }) => void attempts.push(attempt) },
      ...{ lease: LEASE, poll: 10 * LEASE },
    });
    await enqueue(slow, 'ann', 1);
    for (let i = 0; i < 50; i++) await settled();
    await clock.advance(LEASE / 4);
    // No timer has told it yet.
    clock.sleep(LEASE);
    go();
    for (let i = 0; i < 50; i++) await settled();
    expect(attempts).toEqual([1]);
    await relay.stop();
    expect(await kept(slow)).toEqual([0, 0, 0]);
  });

  test('whose renewal is done after its message became a dead letter stays that of a dead letter', async () => {
    const clock = new ManualClock();
    const storage = await sharedMemory(3, clock)();
    const { backend } = databaseOf(storage);
    const write = backend.write.bind(backend);
    const late: (() => Promise<unknown>)[] = [];
    const attempts: number[] = [];
    const failing = gate();
    const relay = storage.outbox.relay({
      handlers: {
        mail: async (_message, { attempt }) => {
          attempts.push(attempt);
          await failing.passed;
          throw Object.assign(new Error('no'), { retryable: false });
        },
      },
      ...{ lease: LEASE, poll: 1_000, onFailure: () => undefined },
    });
    await enqueue(storage, 'ann', 1);
    for (let i = 0; i < 50 && attempts.length === 0; i++) await settled();
    backend.write = (scope, writes, context) => {
      late.push(() => write(scope, writes, { ...context, deadline: Infinity, signal: undefined }));
      return Promise.reject(new TimeoutError('no answer came in time'));
    };
    await clock.advance(LEASE / 3);
    backend.write = write;
    failing.open();
    for (let i = 0; i < 50; i++) await settled();
    const dead = async (): Promise<unknown[]> => (await storage.outbox.list()).items.map(({ state }) => state);
    expect([late.length, await dead()]).toEqual([1, ['dead']]);
    await late[0]!();
    await clock.advance(3 * LEASE);
    expect([attempts, await dead()]).toEqual([[1], ['dead']]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });
});

describeServer('a relay whose database does not answer', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  let cut: StorageManager;
  let other: StorageManager;
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
    const open = (url: string) => openStorage({ databases: { main: url } }, { environment: {} });
    cut = await open(fixture.through(proxy.port));
    other = await open(fixture.url);
  });
  afterEach(async () => {
    await other.close();
    await cut.close({ deadline: 0 });
    await proxy.close();
  });
  afterAll(() => fixture.close());

  test('ends its delivery before another takes the key', async () => {
    const told: string[] = [];
    const begun = gate();
    const delivered = gate();
    const relay = cut.outbox.relay({
      ...{ lease: 1_500, poll: 50, onError: () => undefined },
      handlers: {
        mail: (_message: OutboxMessage, { signal }) =>
          new Promise((_resolve, reject) => {
            proxy.freeze();
            begun.open();
            signal.addEventListener('abort', () => {
              told.push('given up');
              reject(signal.reason as Error);
            });
          }),
      },
    });
    await enqueue(other, 'ann', 1);
    await begun.passed;
    const second = other.outbox.relay({
      ...{ lease: 1_500, poll: 50 },
      handlers: { mail: () => (told.push('delivered'), delivered.open()) },
    });
    await delivered.passed;
    expect(told).toEqual(['given up', 'delivered']);
    await second.stop();
    await relay.stop({ deadline: 0 });
  });

  test.each([
    ['at once', []],
    ['at a second word', [600_000]],
  ])(
    'stops when it is told to, %s, and lets its lease run out',
    async (key, before) => {
      const begun = gate();
      const relay = cut.outbox.relay({
        ...{ lease: 60_000, timeout: 600_000, onError: () => undefined },
        handlers: { mail: () => (proxy.freeze(), begun.open(), new Promise(() => undefined)) },
      });
      // Each has a key of its own: the lease of the other runs on.
      await enqueue(other, key, 1);
      await begun.passed;
      const earlier = before.map((deadline) => relay.stop({ deadline }));
      const started = performance.now();
      await relay.stop({ deadline: 100 });
      // A second more than was said; without the bound it waits for its lease.
      expect(performance.now() - started).toBeLessThan(15_000);
      await Promise.all(earlier);
      expect(relay.status()).toMatchObject({ state: 'stopped', inFlight: 0 });
    },
    240_000,
  );

  test('stops when it is told to while it looks for messages', async () => {
    const relay = cut.outbox.relay({
      ...{ lease: 60_000, poll: 10, onError: () => undefined },
      handlers: { mail: () => undefined },
    });
    proxy.freeze();
    const { pool } = databaseOf(cut);
    await until(() => pool.figures().size > pool.figures().idle);
    const started = performance.now();
    await relay.stop({ deadline: 100 });
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(relay.status()).toMatchObject({ state: 'stopped', inFlight: 0 });
  });
});
