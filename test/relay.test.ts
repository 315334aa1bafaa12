/** The relay in time: leases, backoff, deadlines, and what it leaves behind. The clock is the test's. */
import { describe, expect, test } from '@jest/globals';
import type { DeliveryFailure } from '../src/index.js';
import { databaseOf } from './support/open-parts.js';
import { sharedMemory } from './support/shared-memory.js';
import { ManualClock, settled } from './support/manual-clock.js';
import {
  advanceUntil,
  type Delivery,
  enqueueAll,
  freeze,
  held,
  LEASE,
  left,
  noting,
  openManagers,
  rest,
} from './support/relay.js';

describe('a relay', () => {
  test('is woken by a commit of its process, without any time passing', async () => {
    const { clock, managers } = await openManagers(1);
    const { seen, handlers } = noting();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 3_600_000 });
    await rest();
    await enqueueAll(managers[0]!, 'ann', 1);
    await rest();
    expect(seen).toEqual([1]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('finds the messages of other processes by looking, at times that differ', async () => {
    const { clock, managers } = await openManagers(2);
    const { seen, handlers } = noting();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 1_000 });
    await rest();
    await enqueueAll(managers[1]!, 'ann', 1);
    await rest();
    expect(seen).toEqual([]);
    await clock.advance(1_500);
    await rest();
    expect(seen).toEqual([1]);
    await relay.stop();
    expect(clock.timers).toBe(0);
  });

  test('takes over from one that died between its claim and the delivery, with a greater token', async () => {
    const { clock, managers } = await openManagers(2);
    const [dying, living] = managers;
    const first = held();
    const second = held();
    const dead = dying!.outbox.relay({ handlers: first.handlers, lease: LEASE, timeout: 10 * LEASE });
    await enqueueAll(dying!, 'ann', 1, 2);
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
    await enqueueAll(frozen, 'ann', ...payloads);
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
    const { clock, managers } = await openManagers(2);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers });
    await enqueueAll(managers[0]!, 'ann', 1);
    await rest();
    await enqueueAll(managers[1]!, 'ann', 2);
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
    const { managers } = await openManagers(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers });
    await enqueueAll(managers[0]!, 'ann', 1, 2, 3);
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
    const { clock, managers } = await openManagers(2);
    const [first, second] = [held(), held()];
    const relay = managers[0]!.outbox.relay({ handlers: first.handlers, lease: LEASE, timeout: 10 * LEASE });
    await enqueueAll(managers[0]!, 'ann', 1);
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
    const { clock, managers } = await openManagers(1);
    const { deliveries, handlers } = held();
    const failures: DeliveryFailure[] = [];
    const relay = managers[0]!.outbox.relay({
      handlers,
      timeout: 5_000,
      poll: 100,
      backoff: { base: 10_000, max: 15_000 },
      onFailure: (failure) => failures.push(failure),
    });
    await enqueueAll(managers[0]!, 'ann', 1);
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
    const { clock, managers } = await openManagers(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 100, backoff: { base: 100, max: 100 } });
    await enqueueAll(managers[0]!, 'ann', 1, 2);
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
    const { clock, managers } = await openManagers(4);
    const failures: DeliveryFailure[] = [];
    const tried = held();
    for (const manager of managers.slice(0, 3)) {
      manager.outbox.relay({ handlers: tried.handlers, lease: LEASE, poll: 1_000, timeout: 100 * LEASE });
      if (manager === managers[0]) await enqueueAll(manager, 'ann', 'kills');
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
    const { clock, managers } = await openManagers(1);
    const errors: unknown[] = [];
    const { seen, handlers } = noting();
    const relay = managers[0]!.outbox.relay({ handlers, poll: 1_000, onError: (error) => errors.push(error) });
    await rest();
    await enqueueAll(managers[0]!, 'ann', 1);
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
    const { clock, managers } = await openManagers(1);
    const errors: unknown[] = [];
    managers[0]!.on('error', (error) => errors.push(error.code));
    const relay = managers[0]!.outbox.relay({ handlers: noting().handlers, poll: 1_000 });
    await rest();
    for (const outage of [1, 2]) {
      await enqueueAll(managers[0]!, 'ann', outage);
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
    const { clock, managers } = await openManagers(1);
    const { backend } = databaseOf(managers[0]!);
    let claims = 0;
    backend.claim = async () => {
      claims++;
      await settled();
      return [];
    };
    const { seen, handlers } = noting();
    await enqueueAll(managers[0]!, 'ann', 1);
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
    const { managers } = await openManagers(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, concurrency: 2 });
    for (const key of ['a', 'b', 'c', 'd', 'e']) await enqueueAll(managers[0]!, key, key);
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
