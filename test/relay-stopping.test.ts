/** Relays that stop: what they wait for, what they abort, what they give back. The clock is the test's. */
import { describe, expect, test } from '@jest/globals';
import { COUNTERS } from '../src/collection/counters.js';
import { OUTBOX_TABLES } from '../src/unit-of-work/outbox/records.js';
import { databaseOf } from './support/open-parts.js';
import { enqueueAll, held, LEASE, left, noting, openManagers, rest } from './support/relay.js';

describe('stopping a relay', () => {
  test('lets the delivery in flight end, and gives the key back at once', async () => {
    const { clock, managers } = await openManagers(2);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, lease: LEASE });
    await enqueueAll(managers[0]!, 'ann', 1, 2, 3);
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
    const { clock, managers } = await openManagers(2);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers, lease: LEASE });
    await enqueueAll(managers[0]!, 'ann', 1);
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
    const { clock, managers } = await openManagers(2);
    await enqueueAll(managers[0]!, 'ann', 1);
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
    const { clock, managers } = await openManagers(1);
    const { deliveries, handlers } = held();
    const relay = managers[0]!.outbox.relay({ handlers });
    await enqueueAll(managers[0]!, 'ann', 1);
    await rest();
    await managers[0]!.close({ deadline: 0 });
    await rest();
    expect(deliveries[0]!.signal.aborted).toBe(true);
    expect(relay.status().state).toBe('stopped');
    expect(clock.timers).toBe(0);
  });

  test('rejects options that are wrong, and goes on', async () => {
    const { managers } = await openManagers(1);
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
  const { clock, managers } = await openManagers(1);
  await enqueueAll(managers[0]!, 'ann', 1);
  await rest();
  expect(clock.timers).toBe(0);
});

test('where a database has no transactions there is no outbox', async () => {
  const { managers } = await openManagers(1);
  const { backend } = databaseOf(managers[0]!);
  const capabilities = { ...backend.capabilities, transactions: 'none' as const };
  Object.defineProperty(backend, 'capabilities', { value: capabilities });
  const { handlers } = noting();
  expect(() => managers[0]!.outbox.relay({ handlers })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  await expect(managers[0]!.outbox.list()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(enqueueAll(managers[0]!, 'ann', 1)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(() => managers[0]!.migrations([{ version: 1, name: 'a', up: async () => undefined }])).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED' }),
  );
});

test('a claim with a token that was taken long ago is refused once a greater one was given', async () => {
  const { clock, managers } = await openManagers(1);
  const { claim } = await import('../src/unit-of-work/relay/claim.js');
  const { DueLanes } = await import('../src/unit-of-work/relay/due-lanes.js');
  const { backend } = databaseOf(managers[0]!);
  await backend.ensure([...OUTBOX_TABLES, COUNTERS], { now: clock.now(), deadline: Infinity });
  await enqueueAll(managers[0]!, 'ann', 1);
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
