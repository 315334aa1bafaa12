/** Writers and relays side by side, in several managers. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openStorage, type Relay } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { settled } from './support/manual-clock.js';
import { emptied, enqueue, fill, kept } from './support/outbox.js';
import { sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';

/** Writers and relays in each of the managers. */
async function checkDelivery(managers: readonly StorageManager[]): Promise<void> {
  const keys = ['k1', 'k2', 'k3'];
  const delivered = new Map(keys.map((key) => [key, [] as number[]]));
  const tally = new Tally<void>();
  const relays: Relay[] = managers.map((manager) =>
    manager.outbox.relay({
      handlers: {
        mail: async ({ key, payload }) => {
          // Long enough for commits in the midst of it.
          for (let turn = Math.random() * 4; turn > 1; turn--) await settled();
          delivered.get(key)!.push(payload as number);
          tally.add();
        },
      },
      poll: 3,
      batch: 2,
      concurrency: 2,
    }),
  );
  await Promise.all(managers.map((manager) => fill(manager, keys, 5)));
  await tally.until(5 * managers.length * keys.length);
  await emptied(managers[0]!);
  await Promise.all(relays.map((relay) => relay.stop()));
  const expected = Array.from({ length: 5 * managers.length }, (_, i) => i + 1);
  for (const key of keys) expect(delivered.get(key)).toEqual(expected);
  expect(await kept(managers[0]!)).toEqual([0, 0, 0]);
}

const SERVERS = storageTargets('an outbox of several processes').filter(
  ({ server, transactions }) => server && transactions,
);

for (const { name, prepare, patient } of SERVERS)
  describe(`several processes on ${name}`, () => {
    let managers: StorageManager[];
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const { url, drop: end } = await prepare();
      drop = end;
      managers = await Promise.all([1, 2, 3].map(() => openStorage({ databases: { main: { url, ...patient } } })));
    });
    afterAll(async () => {
      await Promise.all(managers.map((manager) => manager.close()));
      await drop();
    });

    test('nothing is lost or out of order', () => checkDelivery(managers));

    test('a late commit is neither lost nor overtaken', async () => {
      const [first, second] = managers;
      const tally = new Tally<string>();
      const relays = managers.map((manager) =>
        manager.outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload as string) }, poll: 5 }),
      );
      let commit!: () => void;
      const late = new Promise<void>((resolve) => (commit = resolve));
      const begun = new Tally<void>();
      const slow = first!.transaction(async (tx) => {
        await tx.outbox.enqueue({ topic: 'mail', key: 'late', payload: 'late' });
        await tx.outbox.enqueue({ topic: 'mail', key: 'shared', payload: 'shared, first' });
        begun.add();
        await late;
      });
      await begun.until(1);
      await enqueue(second!, 'other', 'other');
      await tally.until(1);
      // Waits for the late one, or runs again after it.
      const behind = enqueue(second!, 'shared', 'shared, second');
      commit();
      await Promise.all([slow, behind]);
      await tally.until(4);
      await emptied(first!);
      await Promise.all(relays.map((relay) => relay.stop()));
      expect(tally.seen[0]).toBe('other');
      expect([...tally.seen].sort()).toEqual(['late', 'other', 'shared, first', 'shared, second']);
      expect(tally.seen.filter((payload) => payload.startsWith('shared'))).toEqual(['shared, first', 'shared, second']);
      expect(await kept(first!)).toEqual([0, 0, 0]);
    });
  });

describe('several processes over one memory', () => {
  test.each(Array.from({ length: 25 }, (_, i) => i + 1))(
    'nothing is lost or out of order (seed %d)',
    async (seed) => {
      const open = sharedMemory(seed);
      const managers = await Promise.all([open(), open(), open()]);
      await checkDelivery(managers);
      await Promise.all(managers.map((manager) => manager.close()));
    },
    240_000,
  );

  test.each([1, 2, 3, 4, 5])('a late commit is neither lost nor overtaken (seed %d)', async (seed) => {
    const open = sharedMemory(seed);
    const managers = await Promise.all([open(), open()]);
    const [first, second] = managers;
    const tally = new Tally<string>();
    const relays = managers.map((manager) =>
      manager.outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload as string) }, poll: 2 }),
    );
    let commit!: () => void;
    const late = new Promise<void>((resolve) => (commit = resolve));
    const begun = new Tally<number>();
    let runs = 0;
    const slow = first.transaction(async (tx) => {
      await tx.outbox.enqueue({ topic: 'mail', key: 'late', payload: 'late' });
      await tx.outbox.enqueue({ topic: 'mail', key: 'shared', payload: 'shared, late' });
      begun.add(++runs);
      await late;
    });
    await begun.until(1);
    // Begun later, committed earlier, and delivered before the late one commits.
    await enqueue(second, 'shared', 'shared, early');
    await enqueue(second, 'other', 'other');
    await tally.until(2);
    commit();
    await slow;
    await tally.until(4);
    await emptied(first);
    await Promise.all(relays.map((relay) => relay.stop()));
    expect(tally.seen.slice(0, 2).sort()).toEqual(['other', 'shared, early']);
    expect(tally.seen.slice(2).sort()).toEqual(['late', 'shared, late']);
    expect(await kept(first)).toEqual([0, 0, 0]);
    await Promise.all(managers.map((manager) => manager.close()));
  });
});
