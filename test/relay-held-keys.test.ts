/** Keys that a transaction holds while a relay has delivered all there is of them. */
import { describe, expect, jest, test } from '@jest/globals';
import { openStorage, type Relay, type StorageManager } from '../src/index.js';
import type { JsonObject, RecordBackend } from '../src/backends/backend.js';
import { ALL } from '../src/filter/syntax.js';
import { LANES } from '../src/unit-of-work/outbox/records.js';
import { settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { emptied, enqueue, kept } from './support/outbox.js';
import { gate } from './support/postgres/fixture.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';
import { useTwoStorages } from './support/use-storage.js';

/** So long that nothing here waits for its end, or for a third of it. */
const LEASE = 3_600_000;

// Where one session is open at a time, a transaction that waits holds back everything.
const targets = storageTargets('held keys').filter(({ transactions, server }) => transactions && server);

/** A transaction that has left a message under each of the keys, and ends when it is told to. */
async function hold(storage: StorageManager, keys: readonly string[]): Promise<() => Promise<void>> {
  const [held, ending] = [gate(), gate()];
  const ended = storage.transaction(
    async (tx) => {
      for (const key of keys) await tx.outbox.enqueue({ topic: 'mail', key, payload: 'held' });
      held.open();
      await ending.passed;
    },
    { timeout: 600_000 },
  );
  await Promise.race([held.passed, ended]);
  return () => {
    ending.open();
    return ended;
  };
}

/** What the record of the only lane says, and the milliseconds after which it may be claimed. */
async function laneOf(storage: StorageManager): Promise<{ readonly value: JsonObject; readonly dueIn: number }> {
  const { backend, clock } = databaseOf(storage);
  const context = { now: clock.now(), deadline: clock.monotonic() + 60_000 };
  const [lane] = await backend.find('all', { collection: LANES, filter: ALL, sort: [], limit: 10 }, context);
  const { value } = lane!;
  return { value, dueIn: Date.parse(value['dueAt'] as string) - clock.now().getTime() };
}

// Where there is no server there is none to describe, which `each` refuses.
for (const target of targets)
  describe(`keys that a transaction holds on ${target.name}`, () => {
    const storages = useTwoStorages(target);
    const { prepare } = target;

    test('take no place from other keys', async () => {
      const [relaying, holding] = storages();
      const tally = new Tally<unknown>();
      const delivering = gate();
      await using _relay = relaying.outbox.relay({
        handlers: {
          mail: ({ key, payload }) => {
            tally.add([key, payload]);
            return delivering.passed;
          },
        },
        concurrency: 1,
        lease: LEASE,
      });
      await enqueue(holding, 'ann', 1);
      await tally.until(1);
      const end = await hold(holding, ['ann']);
      delivering.open();
      for (const key of ['bob', 'eve']) {
        await enqueue(relaying, key, 1);
        await tally.until(key === 'bob' ? 2 : 3);
      }
      await end();
      await tally.until(4);
      while ((await kept(holding))[1]! > 0) await settled();
      expect(tally.seen).toEqual([
        ['ann', 1],
        ['bob', 1],
        ['eve', 1],
        ['ann', 'held'],
      ]);
    });

    test('are waited for, as long as usual transactions take', async () => {
      const [relaying, holding] = storages();
      const tally = new Tally<unknown>();
      const delivering = gate();
      await using _relay = relaying.outbox.relay({
        handlers: {
          mail: ({ payload }) => {
            tally.add(payload);
            return delivering.passed;
          },
        },
        lease: LEASE,
      });
      await enqueue(holding, 'ann', 1);
      await tally.until(1);
      const end = await hold(holding, ['ann']);
      const begun = performance.now();
      const elapsed = (): number => performance.now() - begun;
      delivering.open();
      while (elapsed() < 500) {
        const messages = (await kept(holding))[2];
        // What was delivered is noted together with the end of its key, unless that is waited for in vain.
        if (elapsed() < 900) expect(messages).toBe(1);
      }
      await end();
      await tally.until(2);
      await emptied(holding);
      expect(tally.seen).toEqual([1, 'held']);
    });

    test('leave places to other keys, and connections to the application, where many are held', async () => {
      const { url, drop } = await prepare();
      const pool = { max: 5 };
      const relaying = await openStorage({ databases: { main: { url, pool } } }, { environment: {} });
      const holding = await openStorage({ databases: { main: url } }, { environment: {} });
      // As many as the relay has places.
      const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
      const tally = new Tally<unknown>();
      const delivering = gate();
      const relay = relaying.outbox.relay({
        handlers: {
          mail: ({ payload }) => {
            tally.add(payload);
            return delivering.passed;
          },
        },
        lease: LEASE,
      });
      for (const key of keys) await enqueue(holding, key, 1);
      await tally.until(keys.length);
      const end = await hold(holding, keys);
      delivering.open();
      while ((await kept(holding))[2]! > 0) await settled();
      for (let reads = 0; reads < 10; reads++) await relaying.outbox.backlog();
      await enqueue(relaying, 'ann', 'other');
      await tally.until(keys.length + 1);
      await end();
      await tally.until(2 * keys.length + 1);
      await relay.stop();
      expect(tally.seen).toEqual([...keys.map(() => 1), 'other', ...keys.map(() => 'held')]);
      for (const storage of [relaying, holding]) await storage.close();
      await drop();
    });

    test('are given back by a relay that is stopped as it claims them, and count as held no more often', async () => {
      const [relaying, holding] = storages();
      const tally = new Tally<unknown>();
      const faults: unknown[] = [];
      const delivering = gate();
      const relay = (): Relay =>
        relaying.outbox.relay({
          handlers: {
            mail: ({ payload }) => {
              tally.add(payload);
              return delivering.passed;
            },
          },
          lease: LEASE,
          onError: (error) => faults.push(error),
        });
      const first = relay();
      await enqueue(holding, 'ann', 1);
      await tally.until(1);
      const end = await hold(holding, ['ann']);
      delivering.open();
      while ((await kept(holding))[2]! > 0) await settled();
      await first.stop({ deadline: 0 });
      let before = await laneOf(relaying);
      while (before.dueIn > 0) before = await laneOf(relaying);
      const { backend } = databaseOf(relaying) as { readonly backend: Required<RecordBackend> };
      const claim = backend.claim.bind(backend);
      await new Promise<void>((stopped) => {
        const claiming = jest.spyOn(backend, 'claim').mockImplementationOnce((...asked) => {
          claiming.mockRestore();
          void second.stop({ deadline: 0 }).then(stopped);
          return claim(...asked);
        });
        const second = relay();
      });
      const { value, dueIn } = await laneOf(relaying);
      expect(value['token']).toBeGreaterThan(before.value['token'] as number);
      expect(dueIn).toBeLessThan(LEASE / 2);
      expect([value['attempts'], value['rests']]).toEqual([0, before.value['rests']]);
      expect(faults).toEqual([]);
      await end();
      const last = relay();
      await tally.until(2);
      await emptied(holding);
      await last.stop();
      expect(tally.seen).toEqual([1, 'held']);
    });

    test.each([
      ['delivered just now', false],
      ['noted as delivered', true],
    ])('are given back as the manager closes, when what they had was %s', async (_title, waits) => {
      const { url, drop } = await prepare();
      const open = (): Promise<StorageManager> => openStorage({ databases: { main: url } }, { environment: {} });
      const [closing, holding] = [await open(), await open()];
      const faults: unknown[] = [];
      closing.on('error', (fault) => faults.push(fault));
      const [begun, delivering] = [gate(), gate()];
      const relay = closing.outbox.relay({
        handlers: {
          mail: () => {
            begun.open();
            return delivering.passed;
          },
        },
        lease: LEASE,
      });
      await enqueue(holding, 'ann', 1);
      await begun.passed;
      const end = await hold(holding, ['ann']);
      delivering.open();
      while (relay.status().delivered === 0) await settled();
      while (waits && (await kept(holding))[2]! > 0) await settled();
      await closing.close();
      // The transaction holds the key yet, and the message that was delivered is gone.
      expect(await kept(holding)).toEqual([1, 1, 0]);
      const { value, dueIn } = await laneOf(holding);
      expect(value['attempts']).toBe(0);
      expect(dueIn).toBeLessThan(LEASE / 2);
      await end();
      const tally = new Tally<unknown>();
      const successor = holding.outbox.relay({
        handlers: { mail: ({ payload }, { attempt }) => tally.add([payload, attempt]) },
      });
      await tally.until(1);
      await successor.stop();
      expect([tally.seen, faults]).toEqual([[['held', 1]], []]);
      await holding.close();
      await drop();
    });
  });
