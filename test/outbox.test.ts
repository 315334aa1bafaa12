/** Messages of transactions, and their delivery: nothing lost, nothing out of order, nothing left behind. */
import { describe, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type OutboxMessage, type RelayOptions } from '../src/index.js';
import { emptied, enqueue, fill, kept } from './support/outbox.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';
import { useStorage } from './support/use-storage.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', id: 'given' });

const HERE = storageTargets('the outbox');
const WITHOUT = HERE.filter(({ transactions }) => !transactions);

if (WITHOUT.length > 0)
  test.each(WITHOUT)('the outbox: refused on $name, which has no transactions', async ({ prepare }) => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await expect((async () => enqueue(storage, 'k', 1))()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await storage.close();
    await drop();
  });
describe.each(HERE.filter(({ transactions }) => transactions))('the outbox on $name', (target) => {
  const storage = useStorage(target);

  test('delivers after the commit, with everything a receiver needs, and keeps nothing', async () => {
    const tally = new Tally<OutboxMessage>();
    await using relay = storage().outbox.relay({
      handlers: {
        mail: async (message, { attempt, token, signal }) => {
          expect([attempt, token > 0, signal.aborted]).toEqual([1, true, false]);
          tally.add(message);
        },
      },
    });
    const { id } = await storage()
      .tenant('acme')
      .transaction(async (tx) => {
        await tx.collection(Notes).insert({ n: 1 }, { id: 'one' });
        await expect(storage().tenant('acme').collection(Notes).find('one')).rejects.toMatchObject({
          code: 'VALIDATION',
        });
        return tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: { to: ['ann'] }, idempotencyKey: 'mail-1' });
      });
    await tally.until(1);
    expect(tally.seen).toEqual([
      {
        id,
        tenant: 'acme',
        topic: 'mail',
        key: 'ann',
        payload: { to: ['ann'] },
        idempotencyKey: 'mail-1',
        enqueuedAt: expect.any(Date),
      },
    ]);
    await emptied(storage());
    await relay.stop();
    expect(await kept(storage())).toEqual([0, 0, 0]);
    expect(relay.status()).toEqual({ state: 'stopped', inFlight: 0, delivered: 1, failed: 0, dead: 0 });
  });

  test('a message of a transaction that rolls back is never delivered', async () => {
    const tally = new Tally<unknown>();
    await using relay = storage().outbox.relay({
      handlers: { mail: async ({ payload }) => tally.add(payload) },
      poll: 5,
    });
    await storage()
      .transaction(async (tx) => {
        await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: 'no' });
        throw new Error('no');
      })
      .catch(() => undefined);
    await enqueue(storage(), 'ann', 'yes');
    await tally.until(1);
    await emptied(storage());
    await relay.stop();
    expect(tally.seen).toEqual(['yes']);
    expect(await kept(storage())).toEqual([0, 0, 0]);
  });

  test('the messages of a key in order, more of them than are read at once', async () => {
    const tally = new Tally<unknown>();
    for (let i = 0; i < 3; i++)
      await storage().transaction(async (tx) => {
        for (let n = 0; n < 5; n++) await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: i * 5 + n });
      });
    await using relay = storage().outbox.relay({
      handlers: { mail: async ({ payload }) => tally.add(payload) },
      batch: 4,
    });
    await tally.until(15);
    await emptied(storage());
    await relay.stop();
    expect(tally.seen).toEqual(Array.from({ length: 15 }, (_, i) => i));
    expect(await kept(storage())).toEqual([0, 0, 0]);
  });

  test('topics that a relay has no handler for are left to others', async () => {
    const [mails, pages] = [new Tally<unknown>(), new Tally<unknown>()];
    await enqueue(storage(), 'ann', 1, 'page');
    await enqueue(storage(), 'ann', 2, 'mail');
    await using mail = storage().outbox.relay({
      handlers: { mail: async ({ payload }) => mails.add(payload) },
      poll: 5,
    });
    await mails.until(1);
    await mail.stop();
    expect(await kept(storage())).toEqual([1, 1, 1]);
    await using page = storage().outbox.relay({ handlers: { page: async ({ payload }) => pages.add(payload) } });
    await pages.until(1);
    await page.stop();
    expect([mails.seen, pages.seen]).toEqual([[2], [1]]);
  });

  test('tenants have keys of their own', async () => {
    const tally = new Tally<string>();
    const gate = new Tally<string>();
    await enqueue(storage().tenant('a'), 'ann', 1);
    await enqueue(storage().tenant('b'), 'ann', 1);
    await using relay = storage().outbox.relay({
      handlers: {
        mail: async ({ tenant }) => {
          gate.add(tenant);
          // Both are in flight at once, or neither ends.
          await gate.until(2);
          tally.add(tenant);
        },
      },
    });
    await tally.until(2);
    await relay.stop();
    expect(tally.seen.sort()).toEqual(['a', 'b']);
  });

  test('several relays and writers: every message once or more, and in the order of the commits of its key', async () => {
    const seen = new Map<string, number[]>();
    const tally = new Tally<void>();
    const options: RelayOptions = {
      handlers: {
        mail: async ({ key, payload }) => {
          const numbers = seen.get(key) ?? [];
          seen.set(key, numbers);
          if (numbers.includes(payload as number)) return;
          numbers.push(payload as number);
          tally.add();
        },
      },
      poll: 5,
      batch: 2,
      concurrency: 2,
    };
    const relays = [1, 2, 3].map(() => storage().outbox.relay(options));
    await fill(storage().tenant('writers'), ['k1', 'k2', 'k3'], 12);
    await tally.until(36);
    await emptied(storage());
    await Promise.all(relays.map((relay) => relay.stop()));
    for (const key of ['k1', 'k2', 'k3']) expect(seen.get(key)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(await kept(storage())).toEqual([0, 0, 0]);
  });

  test('the backlog is what waits, and since when', async () => {
    const before = await storage().outbox.backlog();
    expect(before).toEqual({ waiting: 0, dead: 0 });
    await enqueue(storage().tenant('one'), 'ann', 1);
    await enqueue(storage().tenant('two'), 'ann', 2);
    const { oldest, ...counts } = await storage().outbox.backlog();
    expect(counts).toEqual({ waiting: 2, dead: 0 });
    expect(Math.abs(oldest!.getTime() - Date.now())).toBeLessThan(60_000);
    const tally = new Tally<unknown>();
    const relay = storage().outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) }, poll: 2 });
    await tally.until(2);
    await relay.stop();
    expect(await storage().outbox.backlog()).toEqual(before);
  });

  test.each([
    ['no topic', { key: 'a', payload: 1 }],
    ['a malformed topic', { topic: 'No Topic', key: 'a', payload: 1 }],
    ['no key', { topic: 'mail', payload: 1 }],
    ['an empty key', { topic: 'mail', key: '', payload: 1 }],
    ['no payload', { topic: 'mail', key: 'a' }],
    ['a payload that is no JSON', { topic: 'mail', key: 'a', payload: { at: new Date() } }],
    ['an unknown field', { topic: 'mail', key: 'a', payload: 1, delay: 5 }],
    ['a malformed idempotency key', { topic: 'mail', key: 'a', payload: 1, idempotencyKey: '' }],
  ])('%s is refused, and the transaction stays usable', async (_case, message) => {
    await storage().transaction(async (tx) => {
      await expect(tx.outbox.enqueue(message as never)).rejects.toMatchObject({ code: 'VALIDATION' });
      await tx.collection(Notes).count();
    });
  });

  test.each([
    ['no handlers', {}],
    ['no topic', { handlers: {} }],
    ['a malformed topic', { handlers: { 'No Topic': async () => undefined } }],
    ['a handler that is no function', { handlers: { mail: 'send' } }],
    ['a batch of 0', { handlers: { mail: async () => undefined }, batch: 0 }],
    ['an endless poll', { handlers: { mail: async () => undefined }, poll: Infinity }],
    ['an unknown option', { handlers: { mail: async () => undefined }, polling: 1 }],
    ['a malformed backoff', { handlers: { mail: async () => undefined }, backoff: { base: -1 } }],
    ['an unknown database', { handlers: { mail: async () => undefined }, on: 'other' }],
  ])('a relay with %s is refused', (_case, options) => {
    expect(() => storage().outbox.relay(options as unknown as RelayOptions)).toThrow(
      expect.objectContaining({ code: 'VALIDATION' }),
    );
  });
});
