/** What ends lanes that are empty at the same time, and what it leaves to each of them. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type DeliveryFailure } from '../src/index.js';
import { settled } from './support/manual-clock.js';
import { enqueue, kept } from './support/outbox.js';
import { describeServer, Fixture, gate } from './support/postgres/fixture.js';
import { Proxy } from './support/proxy.js';
import { statementsOf } from './support/statements.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';
import { useStorage } from './support/use-storage.js';

const KEYS = Array.from({ length: 8 }, (_, i) => `k${i}`);
/** Milliseconds: one that is long enough for a process that has no turn for some time. */
const LEASE = 6_000;
const targets = storageTargets('lanes that end together').filter(({ transactions }) => transactions);

describe.each(targets)('lanes that end together on $name', (target) => {
  const storage = useStorage(target);

  test('are gone with their messages, once each', async () => {
    const isTogether = (text: string): boolean => /DELETE FROM \S*qm_outbox_lanes\S* AS t USING unnest/.test(text);
    let together = 0;
    // A busy server leaves each to itself, after a moment: then it is asked again.
    for (let tries = 0; tries < 20 && together === 0; tries++) {
      for (const key of KEYS) await enqueue(storage(), key, key);
      const begun = new Tally<unknown>();
      const { passed, open } = gate();
      const sent = await statementsOf(async () => {
        await using _relay = storage().outbox.relay({
          handlers: {
            mail: ({ payload }) => {
              begun.add(payload);
              return passed;
            },
          },
          concurrency: KEYS.length,
          // What it looks for would have the connection on which they are to end.
          poll: 600_000,
        });
        await begun.until(KEYS.length);
        open();
        while ((await kept(storage()))[1]! > 0) await settled();
      });
      expect([...begun.seen].sort()).toEqual(KEYS);
      expect(await kept(storage())).toEqual([0, 0, 0]);
      // No others than those of PostgreSQL can be seen.
      if (sent.length === 0) return;
      together = sent.filter(isTogether).length;
    }
    expect(together).toBe(1);
  });

  // Where one session is open at a time, a transaction that waits holds back everything.
  if (target.server)
    test('wait no longer than for a moment for a transaction under one key', async () => {
      for (const key of KEYS) await enqueue(storage(), key, 1);
      const added = gate();
      const commit = gate();
      const begun = new Tally<unknown>();
      const given = new Map(KEYS.map((key) => [key, [] as unknown[]]));
      const delivering = gate();
      await using relay = storage().outbox.relay({
        handlers: {
          mail: ({ key, payload }) => {
            begun.add(payload);
            given.get(key)!.push(payload);
            return delivering.passed;
          },
        },
        concurrency: KEYS.length,
      });
      await begun.until(KEYS.length);
      const slow = storage().transaction(async (tx) => {
        await tx.outbox.enqueue({ topic: 'mail', key: 'k3', payload: 2 });
        added.open();
        await commit.passed;
      });
      await added.passed;
      delivering.open();
      // All but the one whose key the transaction holds.
      while ((await kept(storage()))[1]! > 1 || relay.status().inFlight > 0) await settled();
      expect(relay.status().delivered).toBe(KEYS.length);
      commit.open();
      await slow;
      await begun.until(KEYS.length + 1);
      while ((await kept(storage()))[1]! > 0) await settled();
      expect(given.get('k3')).toEqual([1, 2]);
      expect(begun.seen).toHaveLength(KEYS.length + 1);
      expect(await kept(storage())).toEqual([0, 0, 0]);
    });

  if (target.server)
    test('are kept for a transaction under their key that takes longer than their lease: nothing counts as tried again', async () => {
      const failures: DeliveryFailure[] = [];
      const tally = new Tally<[unknown, number]>();
      const [begun, delivering, added, commit] = [gate(), gate(), gate(), gate()];
      await using _relay = storage().outbox.relay({
        handlers: {
          mail: ({ payload }, { attempt }) => {
            tally.add([payload, attempt]);
            begun.open();
            return delivering.passed;
          },
        },
        lease: LEASE,
        poll: 50,
        maxAttempts: 1,
        onFailure: (failure) => failures.push(failure),
        onError: () => undefined,
      });
      await enqueue(storage(), 'held', 1);
      await begun.passed;
      const slow = storage().transaction(
        async (tx) => {
          await tx.outbox.enqueue({ topic: 'mail', key: 'held', payload: 2 });
          added.open();
          await commit.passed;
        },
        { timeout: 120_000 },
      );
      await added.passed;
      const started = performance.now();
      delivering.open();
      // What is delivered is deleted while the transaction still holds the key, and the lane stays for what it brings.
      while ((await kept(storage()))[2]! > 0 && failures.length === 0) await settled();
      while (performance.now() - started < LEASE + 1_000 && failures.length === 0) await settled();
      expect([failures, tally.seen]).toEqual([[], [[1, 1]]]);
      commit.open();
      await slow;
      await tally.until(2);
      while ((await kept(storage()))[1]! > 0) await settled();
      expect([failures, tally.seen]).toEqual([
        [],
        [
          [1, 1],
          [2, 1],
        ],
      ]);
    });
});

describeServer('lanes that end together on a slow server', () => {
  test('wait as long as it takes for its answers, and cut nothing off', async () => {
    const fixture = await Fixture.open();
    const proxy = await Proxy.open(fixture.url);
    try {
      const databases = { main: { url: fixture.through(proxy.port), pool: { max: KEYS.length } } };
      await using storage = await openStorage({ databases }, { environment: {} });
      const isAlone = (text: string): boolean => /DELETE FROM \S*qm_outbox_lanes\S* AS t WHERE/.test(text);
      let alone = Infinity;
      // It may be slower for the ends than it was for the claim.
      for (let tries = 0; tries < 20 && alone > 0; tries++) {
        for (const key of KEYS) await enqueue(storage, key, key);
        proxy.delay(40);
        const begun = new Tally<unknown>();
        const { passed, open } = gate();
        const sent = await statementsOf(async () => {
          const handlers = { mail: ({ payload }: { readonly payload: unknown }) => (begun.add(payload), passed) };
          await using _relay = storage.outbox.relay({ handlers, concurrency: KEYS.length, poll: 600_000 });
          await begun.until(KEYS.length);
          open();
          while ((await kept(storage))[1]! > 0) await settled();
        });
        proxy.delay(0);
        alone = sent.filter(isAlone).length;
      }
      expect(alone).toBe(0);
    } finally {
      await proxy.close();
      await fixture.close();
    }
  });
});
