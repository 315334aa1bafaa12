/** The relay in time: leases, backoff, deadlines, and what it leaves behind. The clock is the test's. */
import { describe, expect, test } from '@jest/globals';
import type { DeliveryContext, DeliveryFailure, OutboxMessage, RelayOptions } from '../src/index.js';
import { ALL } from '../src/filter/syntax.js';
import { COUNTERS } from '../src/collection/counters.js';
import type { StorageManager } from '../src/manager.js';
import { OUTBOX_TABLES } from '../src/unit-of-work/outbox/records.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { sharedMemory } from './support/shared-memory.js';

const LEASE = 30_000;

interface Delivery extends DeliveryContext {
  readonly payload: unknown;
  end(): void;
  fail(error: unknown): void;
}

/** A handler whose deliveries end when the test says so. */
function held(): { deliveries: Delivery[]; handlers: RelayOptions['handlers'] } {
  const deliveries: Delivery[] = [];
  const handler = ({ payload }: OutboxMessage, context: DeliveryContext): Promise<void> =>
    new Promise((resolve, reject) => deliveries.push({ ...context, payload, end: resolve, fail: reject }));
  return { deliveries, handlers: { mail: handler } };
}

/** Handlers that note what they get, and end at once. */
function noting(): { seen: unknown[]; handlers: RelayOptions['handlers'] } {
  const seen: unknown[] = [];
  return { seen, handlers: { mail: async ({ payload }) => seen.push(payload) } };
}

async function enqueue(storage: StorageManager, key: string, ...payloads: unknown[]): Promise<void> {
  await storage.transaction(async (tx) => {
    for (const payload of payloads) await tx.outbox.enqueue({ topic: 'mail', key, payload });
  });
}

/** From now on nothing that the manager writes arrives, as of a process that is frozen or dead. */
function freeze(storage: StorageManager): () => void {
  const { backend } = databaseOf(storage);
  const write = backend.write.bind(backend);
  backend.write = () => Promise.reject(new Error('frozen'));
  return () => void (backend.write = write);
}

async function left(storage: StorageManager, clock: ManualClock): Promise<number> {
  const { backend } = databaseOf(storage);
  const context = { now: clock.now(), deadline: Infinity };
  const counts = OUTBOX_TABLES.map((collection) => backend.count('all', { collection, filter: ALL }, context));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

/** Lets what needs no time come to rest. */
async function rest(): Promise<void> {
  for (let i = 0; i < 50; i++) await settled();
}

/** Advances until something has happened, by no more than `most`. */
async function advanceUntil(clock: ManualClock, happened: () => boolean, most: number): Promise<void> {
  for (let passed = 0; passed < most && !happened(); passed += 50) await clock.advance(50);
  expect(happened()).toBe(true);
}

async function setUp(count = 2): Promise<{ clock: ManualClock; managers: StorageManager[] }> {
  const clock = new ManualClock();
  const open = sharedMemory(3, clock);
  const managers: StorageManager[] = [];
  for (let i = 0; i < count; i++) managers.push(await open());
  return { clock, managers };
}

describe('a relay', () => {
  test('is woken by a commit of its process, without any time passing', async () => {
    const { clock, managers } = await setUp(1);
    const { seen, handlers } = noting();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 3_600_000 });
    await rest();
    await enqueue(managers[0]!, 'ann', 1);
    await rest();
    expect(seen).toEqual([1]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('finds the messages of other processes by looking, at times that differ', async () => {
    const { clock, managers } = await setUp(2);
    const { seen, handlers } = noting();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 1_000 });
    await rest();
    await enqueue(managers[1]!, 'ann', 1);
    await rest();
    expect(seen).toEqual([]);
    await clock.advance(1_500);
    await rest();
    expect(seen).toEqual([1]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('takes over from one that died between its claim and the delivery, with a greater token', async () => {
    const { clock, managers } = await setUp(2);
    const [dying, living] = managers;
    const first = held();
    const second = held();
    const dead = dying!.outbox.relay({ handlers: first.handlers, lease: LEASE, timeout: 10 * LEASE });
    await enqueue(dying!, 'ann', 1, 2);
    await rest();
    expect(first.deliveries).toHaveLength(1);
    freeze(dying!);
    const relay = living!.outbox.relay({ handlers: second.handlers, lease: LEASE, poll: 1_000 });
    await clock.advance(LEASE - 1_000);
    expect(second.deliveries).toEqual([]);
    await clock.advance(4_000);
    expect(second.deliveries).toMatchObject([{ payload: 1, attempt: 2 }]);
    expect(second.deliveries[0]!.token).toBeGreaterThan(first.deliveries[0]!.token);
    // Who died is told too, should it live after all.
    await clock.advance(LEASE);
    expect(first.deliveries[0]!.signal.aborted).toBe(true);
    second.deliveries[0]!.end();
    await rest();
    second.deliveries[1]!.end();
    await relay.stop();
    expect(second.deliveries.map(({ payload }) => payload)).toEqual([1, 2]);
    expect(await left(living!, clock)).toBe(0);
    await dead.stop({ deadline: 0 });
    expect(clock.timers).toBe(0);
  });

  test.each([
    ['ends its delivery', [1, 2], (delivery: Delivery) => delivery.end()],
    ['ends its delivery, the last one', [1], (delivery: Delivery) => delivery.end()],
    ['fails at its delivery', [1], (delivery: Delivery) => delivery.fail(new Error('no'))],
  ])('that was frozen for longer than its lease, and then %s, changes nothing', async (_case, payloads, end) => {
    const [frozenClock, clock] = [new ManualClock(), new ManualClock()];
    const open = sharedMemory(3, frozenClock);
    const [frozen, living] = [await open(), await open(clock)];
    const [first, second] = [held(), held()];
    const failures: DeliveryFailure[] = [];
    const options = { lease: LEASE, maxAttempts: 1, onFailure: (failure: DeliveryFailure) => failures.push(failure) };
    const zombie = frozen.outbox.relay({ ...options, handlers: first.handlers });
    await enqueue(frozen, 'ann', ...payloads);
    await rest();
    const relay = living.outbox.relay({ handlers: second.handlers, lease: LEASE, poll: 1_000 });
    await clock.advance(LEASE + 2_000);
    expect(second.deliveries).toMatchObject([{ payload: 1, attempt: 2 }]);
    // It knows nothing of that: no time has passed for it.
    expect(first.deliveries[0]!.signal.aborted).toBe(false);
    // But for the tenth of a second within which delivered messages are deleted together.
    await frozenClock.advance(100);
    end(first.deliveries[0]!);
    await rest();
    expect([first.deliveries.length, zombie.status().inFlight, failures]).toEqual([1, 0, []]);
    expect(await left(living, clock)).toBe(payloads.length + 2);
    for (let i = 0; i < payloads.length; i++) {
      second.deliveries[i]!.end();
      await rest();
    }
    expect(second.deliveries.map(({ payload }) => payload)).toEqual(payloads);
    expect(await left(living, clock)).toBe(0);
    await Promise.all([relay.stop(), zombie.stop()]);
    expect([clock.timers, frozenClock.timers]).toEqual([0, 0]);
  });

  test('finds a message that came while the one before it was delivered', async () => {
    const { clock, managers } = await setUp(2);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers });
    await enqueue(managers[0]!, 'ann', 1);
    await rest();
    await enqueue(managers[1]!, 'ann', 2);
    deliveries[0]!.end();
    await rest();
    expect(deliveries.map(({ payload, attempt }) => [payload, attempt])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    deliveries[1]!.end();
    await rest();
    expect(await left(managers[1]!, clock)).toBe(0);
    await relay.stop();
  });

  test('counts what it has delivered of a key that is not empty yet', async () => {
    const { managers } = await setUp(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers });
    await enqueue(managers[0]!, 'ann', 1, 2, 3);
    for (const delivered of [0, 1, 2]) {
      await rest();
      expect(relay.status()).toMatchObject({ inFlight: 1, delivered });
      deliveries[delivered]!.end();
    }
    await rest();
    expect(relay.status()).toMatchObject({ inFlight: 0, delivered: 3 });
    await relay.stop();
    expect(relay.status().delivered).toBe(3);
  });

  test('keeps its lease for as long as a delivery takes', async () => {
    const { clock, managers } = await setUp(2);
    const [first, second] = [held(), held()];
    const relay = managers[0]!.outbox.relay({ handlers: first.handlers, lease: LEASE, timeout: 10 * LEASE });
    await enqueue(managers[0]!, 'ann', 1);
    await rest();
    const other = managers[1]!.outbox.relay({ handlers: second.handlers, lease: LEASE, poll: 1_000 });
    await clock.advance(5 * LEASE);
    expect(second.deliveries).toEqual([]);
    first.deliveries[0]!.end();
    await rest();
    expect(await left(managers[1]!, clock)).toBe(0);
    await Promise.all([relay.stop(), other.stop()]);
    expect(clock.timers).toBe(0);
  });

  test('gives up a delivery that takes too long, and tries again after the backoff', async () => {
    const { clock, managers } = await setUp(1);
    const { deliveries, handlers } = held();
    const failures: DeliveryFailure[] = [];
    const relay = managers[0]!.outbox.relay({
      handlers,
      timeout: 5_000,
      poll: 100,
      backoff: { base: 10_000, max: 15_000 },
      onFailure: (failure) => failures.push(failure),
    });
    await enqueue(managers[0]!, 'ann', 1);
    await rest();
    await clock.advance(5_000);
    expect(deliveries[0]!.signal.aborted).toBe(true);
    expect(failures).toMatchObject([{ attempt: 1, dead: false, error: { code: 'TIMEOUT' }, message: { payload: 1 } }]);
    await clock.advance(4_999);
    expect(deliveries).toHaveLength(1);
    await advanceUntil(clock, () => deliveries.length === 2, 5_201);
    deliveries[1]!.fail(new Error('no'));
    await clock.advance(7_499);
    expect(deliveries).toHaveLength(2);
    await advanceUntil(clock, () => deliveries.length === 3, 7_701);
    expect(deliveries.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    deliveries[2]!.end();
    await relay.stop();
    expect(await left(managers[0]!, clock)).toBe(0);
    expect(clock.timers).toBe(0);
  });

  test('counts the attempts of each message by itself', async () => {
    const { clock, managers } = await setUp(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 100, backoff: { base: 100, max: 100 } });
    await enqueue(managers[0]!, 'ann', 1, 2);
    await rest();
    deliveries[0]!.fail(new Error('no'));
    await clock.advance(300);
    deliveries[1]!.end();
    await rest();
    expect(deliveries.map(({ payload, attempt }) => [payload, attempt])).toEqual([
      [1, 1],
      [1, 2],
      [2, 1],
    ]);
    deliveries[2]!.end();
    await relay.stop();
  });

  test('makes a dead letter of a message at which its process dies each time, without a last delivery', async () => {
    const { clock, managers } = await setUp(4);
    const failures: DeliveryFailure[] = [];
    const tried = held();
    for (const manager of managers.slice(0, 3)) {
      manager.outbox.relay({ handlers: tried.handlers, lease: LEASE, poll: 1_000, timeout: 100 * LEASE });
      if (manager === managers[0]) await enqueue(manager, 'ann', 'kills');
      await clock.advance(2_000);
      freeze(manager);
      await clock.advance(LEASE + 2_000);
    }
    expect(tried.deliveries.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    const last = noting();
    const survivor = managers[3]!;
    const relay = survivor.outbox.relay({
      handlers: last.handlers,
      lease: LEASE,
      poll: 1_000,
      maxAttempts: 3,
      onFailure: (failure) => failures.push(failure),
    });
    await clock.advance(2_000);
    expect(failures).toMatchObject([{ dead: true, attempt: 4, message: { payload: 'kills' } }]);
    expect(last.seen).toEqual([]);
    expect(await survivor.outbox.list({ state: 'dead' })).toMatchObject({ items: [{ payload: 'kills', attempts: 4 }] });
    await relay.stop();
    await Promise.all(managers.map((manager) => manager.close()));
    expect(clock.timers).toBe(0);
  });

  test('goes on when the database is back, and tells of the fault', async () => {
    const { clock, managers } = await setUp(1);
    const errors: unknown[] = [];
    const { seen, handlers } = noting();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 1_000, onError: (error) => errors.push(error) });
    await rest();
    await enqueue(managers[0]!, 'ann', 1);
    const thaw = freeze(managers[0]!);
    await clock.advance(10_000);
    expect(errors.length).toBeGreaterThan(0);
    // The waits grow: not one look a second.
    expect(errors.length).toBeLessThan(9);
    expect(seen).toEqual([]);
    thaw();
    await clock.advance(60_000);
    expect(seen).toEqual([1]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('tells the manager of each outage once, where nobody else is told', async () => {
    const { clock, managers } = await setUp(1);
    const errors: unknown[] = [];
    managers[0]!.on('error', (error) => errors.push(error.code));
    const relay = managers[0]!.outbox.relay({ handlers: noting().handlers, poll: 1_000 });
    await rest();
    for (const outage of [1, 2]) {
      await enqueue(managers[0]!, 'ann', outage);
      const thaw = freeze(managers[0]!);
      await clock.advance(20_000);
      expect(errors).toHaveLength(outage);
      thaw();
      await clock.advance(60_000);
    }
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('pauses where it gets nothing of what is due: another session has locked it', async () => {
    const { clock, managers } = await setUp(1);
    const { backend } = databaseOf(managers[0]!);
    let claims = 0;
    backend.claim = async () => {
      claims++;
      await settled();
      return [];
    };
    const { seen, handlers } = noting();
    await enqueue(managers[0]!, 'ann', 1);
    const relay = managers[0]!.outbox.relay({ handlers, poll: 1_000 });
    await rest();
    const atOnce = claims;
    expect(atOnce).toBeGreaterThan(0);
    expect(atOnce).toBeLessThan(5);
    for (let i = 0; i < 20; i++) {
      await clock.advance(500);
      await rest();
    }
    // One with each look: between half a second and one and a half.
    expect(claims - atOnce).toBeGreaterThanOrEqual(6);
    expect(claims - atOnce).toBeLessThanOrEqual(20);
    delete backend.claim;
    await clock.advance(1_500);
    await rest();
    expect(seen).toEqual([1]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('delivers no more keys at once than it may', async () => {
    const { managers } = await setUp(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, concurrency: 2 });
    for (const key of ['a', 'b', 'c', 'd', 'e']) await enqueue(managers[0]!, key, key);
    await rest();
    expect([deliveries.length, relay.status().inFlight]).toEqual([2, 2]);
    for (let i = 0; i < 5; i++) {
      deliveries[i]!.end();
      await rest();
    }
    expect(deliveries).toHaveLength(5);
    await relay.stop();
  });
});

describe('stopping a relay', () => {
  test('lets the delivery in flight end, and gives the key back at once', async () => {
    const { clock, managers } = await setUp(2);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, lease: LEASE });
    await enqueue(managers[0]!, 'ann', 1, 2, 3);
    await rest();
    const stopping = relay.stop();
    await rest();
    expect(relay.status()).toMatchObject({ state: 'stopping', inFlight: 1 });
    deliveries[0]!.end();
    await stopping;
    expect(relay.status()).toMatchObject({ state: 'stopped', inFlight: 0, delivered: 1 });
    expect(deliveries).toHaveLength(1);
    expect(clock.timers).toBe(0);
    // Without the lease having to run out.
    const { seen, handlers: others } = noting();
    const other = managers[1]!.outbox.relay({ handlers: others, lease: LEASE });
    await rest();
    expect(seen).toEqual([2, 3]);
    await other.stop();
  });

  test('aborts what takes longer than the deadline, which does not count as an attempt', async () => {
    const { clock, managers } = await setUp(2);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, lease: LEASE });
    await enqueue(managers[0]!, 'ann', 1);
    await rest();
    const stopping = relay.stop({ deadline: 2_000 });
    await clock.advance(1_999);
    expect(deliveries[0]!.signal.aborted).toBe(false);
    await clock.advance(1);
    await stopping;
    expect(deliveries[0]!.signal.aborted).toBe(true);
    expect(clock.timers).toBe(0);
    const other = managers[1]!.outbox.relay({ handlers, lease: LEASE });
    await rest();
    expect(deliveries[1]).toMatchObject({ payload: 1, attempt: 1 });
    deliveries[1]!.end();
    await other.stop();
    expect(await left(managers[1]!, clock)).toBe(0);
  });

  test('while it looks for work leaves nothing claimed', async () => {
    const { clock, managers } = await setUp(2);
    await enqueue(managers[0]!, 'ann', 1);
    const first = noting();
    await managers[0]!.outbox.relay({ handlers: first.handlers }).stop();
    const second = noting();
    const other = managers[1]!.outbox.relay({ handlers: second.handlers });
    await rest();
    expect([...first.seen, ...second.seen]).toEqual([1]);
    await other.stop();
    expect(clock.timers).toBe(0);
  });

  test('is done by the end of its manager, too', async () => {
    const { clock, managers } = await setUp(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers });
    await enqueue(managers[0]!, 'ann', 1);
    await rest();
    await managers[0]!.close();
    await rest();
    expect(deliveries[0]!.signal.aborted).toBe(true);
    expect(relay.status().state).toBe('stopped');
    expect(clock.timers).toBe(0);
  });

  test('rejects options that are wrong, and goes on', async () => {
    const { managers } = await setUp(1);
    const relay = managers[0]!.outbox.relay({ handlers: noting().handlers });
    for (const options of [{ deadline: -1 }, { deadline: '1' }, { deadlines: 1 }, null, 5]) {
      const stopping = relay.stop(options as never);
      await expect(stopping).rejects.toMatchObject({ code: 'VALIDATION' });
    }
    expect(relay.status().state).toBe('running');
    await relay.stop({ deadline: undefined });
  });
});

test('nothing runs where no relay was asked for', async () => {
  const { clock, managers } = await setUp(1);
  await enqueue(managers[0]!, 'ann', 1);
  await rest();
  expect(clock.timers).toBe(0);
});

test('where a database has no transactions there is no outbox', async () => {
  const { managers } = await setUp(1);
  const { backend } = databaseOf(managers[0]!);
  const capabilities = { ...backend.capabilities, transactions: 'none' as const };
  Object.defineProperty(backend, 'capabilities', { value: capabilities });
  const { handlers } = noting();
  expect(() => managers[0]!.outbox.relay({ handlers })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  await expect(managers[0]!.outbox.list()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(enqueue(managers[0]!, 'ann', 1)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(() => managers[0]!.migrations([{ version: 1, name: 'a', up: async () => undefined }])).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED' }),
  );
});

test('a claim with a token that was taken long ago is refused once a greater one was given', async () => {
  const { clock, managers } = await setUp(1);
  const { claim } = await import('../src/unit-of-work/relay/claim.js');
  const { DueLanes } = await import('../src/unit-of-work/relay/due-lanes.js');
  const { backend } = databaseOf(managers[0]!);
  await backend.ensure([...OUTBOX_TABLES, COUNTERS], { now: clock.now(), deadline: Infinity });
  await enqueue(managers[0]!, 'ann', 1);
  const context = () => ({ now: clock.now(), deadline: Infinity });
  const found = async () => {
    const due = new DueLanes(backend, ['mail'], (work) => work(context()));
    await due.find(10);
    return due.take(10);
  };
  const before = await found();
  expect(before).toHaveLength(1);
  const lease = { lease: 1_000, end: Infinity };
  expect(await claim(backend, before, 1, 7, lease, context())).toMatchObject([{ token: 7, attempts: 1 }]);
  expect(await claim(backend, before, 1, 8, lease, context())).toEqual([]);
  await clock.advance(1_000);
  const after = await found();
  expect(after).toHaveLength(1);
  expect(await claim(backend, after, 1, 6, lease, context())).toEqual([]);
  expect(await claim(backend, after, 1, 8, lease, context())).toMatchObject([{ token: 8, attempts: 2 }]);
});
