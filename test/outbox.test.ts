/** Messages of transactions, and their delivery: nothing lost, nothing out of order, nothing left behind. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  defineCollection,
  openStorage,
  type DeliveryFailure,
  type Enqueued,
  type NewMessage,
  type OutboxListOptions,
  type OutboxMessage,
  type Relay,
  type RelayOptions,
} from '../src/index.js';
import { ALL } from '../src/filter/syntax.js';
import type { StorageManager } from '../src/manager.js';
import { OUTBOX_TABLES } from '../src/unit-of-work/outbox/records.js';
import { settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', id: 'given' });
const context = () => ({ now: new Date(), deadline: performance.now() + 60_000 });

/** Resolves when it has been told of `count` things. */
class Tally<T> {
  readonly seen: T[] = [];
  private readonly waiters: { count: number; resolve: () => void }[] = [];

  add(item: T): void {
    this.seen.push(item);
    for (const { count, resolve } of this.waiters) if (this.seen.length >= count) resolve();
  }

  until(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.seen.length >= count) resolve();
      else this.waiters.push({ count, resolve });
    });
  }
}

const kept = async (storage: StorageManager): Promise<number[]> => {
  const { backend } = databaseOf(storage);
  return Promise.all(OUTBOX_TABLES.map((collection) => backend.count('all', { collection, filter: ALL }, context())));
};

const enqueue = (storage: Pick<StorageManager, 'transaction'>, key: string, payload: unknown, topic = 'mail') =>
  storage.transaction((tx) => tx.outbox.enqueue({ topic, key, payload }));

const HERE = storageTargets('the outbox');
const TARGETS = HERE.filter(({ transactions }) => transactions);
const WITHOUT = HERE.filter(({ transactions }) => !transactions);

if (WITHOUT.length > 0)
  test.each(WITHOUT)('the outbox: refused on $name, which has no transactions', async ({ prepare }) => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await expect((async () => enqueue(storage, 'k', 1))()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await storage.close();
    await drop();
  });

describe.each(TARGETS)('the outbox on $name', ({ prepare }) => {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const { url, drop: end } = await prepare();
    drop = end;
    storage = await openStorage({ databases: { main: url } });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });

  test('delivers after the commit, with everything a receiver needs, and keeps nothing', async () => {
    const tally = new Tally<OutboxMessage>();
    await using relay = storage.outbox.relay({
      handlers: {
        mail: async (message, { attempt, token, signal }) => {
          expect([attempt, token > 0, signal.aborted]).toEqual([1, true, false]);
          tally.add(message);
        },
      },
    });
    const { id } = await storage.tenant('acme').transaction(async (tx) => {
      await tx.collection(Notes).insert({ n: 1 }, { id: 'one' });
      await expect(storage.tenant('acme').collection(Notes).find('one')).rejects.toMatchObject({ code: 'VALIDATION' });
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
    await relay.stop();
    expect(await kept(storage)).toEqual([0, 0, 0]);
    expect(relay.status()).toEqual({ state: 'stopped', inFlight: 0, delivered: 1, failed: 0, dead: 0 });
  });

  test('a message of a transaction that rolls back is never delivered', async () => {
    const tally = new Tally<unknown>();
    await using relay = storage.outbox.relay({
      handlers: { mail: async ({ payload }) => tally.add(payload) },
      poll: 5,
    });
    await storage
      .transaction(async (tx) => {
        await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: 'no' });
        throw new Error('no');
      })
      .catch(() => undefined);
    await enqueue(storage, 'ann', 'yes');
    await tally.until(1);
    await relay.stop();
    expect(tally.seen).toEqual(['yes']);
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('the messages of a key in order, more of them than are read at once', async () => {
    const tally = new Tally<unknown>();
    for (let i = 0; i < 3; i++)
      await storage.transaction(async (tx) => {
        for (let n = 0; n < 5; n++) await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: i * 5 + n });
      });
    await using relay = storage.outbox.relay({
      handlers: { mail: async ({ payload }) => tally.add(payload) },
      batch: 4,
    });
    await tally.until(15);
    await relay.stop();
    expect(tally.seen).toEqual(Array.from({ length: 15 }, (_, i) => i));
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('topics that a relay has no handler for are left to others', async () => {
    const [mails, pages] = [new Tally<unknown>(), new Tally<unknown>()];
    await enqueue(storage, 'ann', 1, 'page');
    await enqueue(storage, 'ann', 2, 'mail');
    await using mail = storage.outbox.relay({ handlers: { mail: async ({ payload }) => mails.add(payload) }, poll: 5 });
    await mails.until(1);
    await mail.stop();
    expect(await kept(storage)).toEqual([1, 1, 1]);
    await using page = storage.outbox.relay({ handlers: { page: async ({ payload }) => pages.add(payload) } });
    await pages.until(1);
    await page.stop();
    expect([mails.seen, pages.seen]).toEqual([[2], [1]]);
  });

  test('tenants have keys of their own', async () => {
    const tally = new Tally<string>();
    const gate = new Tally<string>();
    await enqueue(storage.tenant('a'), 'ann', 1);
    await enqueue(storage.tenant('b'), 'ann', 1);
    await using relay = storage.outbox.relay({
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
    const relays = [1, 2, 3].map(() => storage.outbox.relay(options));
    await fill(storage.tenant('writers'), ['k1', 'k2', 'k3'], 12);
    await tally.until(36);
    await Promise.all(relays.map((relay) => relay.stop()));
    for (const key of ['k1', 'k2', 'k3']) expect(seen.get(key)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(await kept(storage)).toEqual([0, 0, 0]);
  }, 30_000);

  test('the backlog is what waits, and since when', async () => {
    const before = await storage.outbox.backlog();
    expect(before).toEqual({ waiting: 0, dead: 0 });
    await enqueue(storage.tenant('one'), 'ann', 1);
    await enqueue(storage.tenant('two'), 'ann', 2);
    const { oldest, ...counts } = await storage.outbox.backlog();
    expect(counts).toEqual({ waiting: 2, dead: 0 });
    expect(Math.abs(oldest!.getTime() - Date.now())).toBeLessThan(60_000);
    const tally = new Tally<unknown>();
    const relay = storage.outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) }, poll: 2 });
    await tally.until(2);
    await relay.stop();
    expect(await storage.outbox.backlog()).toEqual(before);
  });

  test('a poison message becomes a dead letter that holds its key back, and no other', async () => {
    const tally = new Tally<string>();
    const failures = new Tally<boolean>();
    let cured = false;
    const options: RelayOptions = {
      handlers: {
        mail: async ({ key, payload }) => {
          if (payload === 'poison' && !cured) throw Object.assign(new Error('a secret'), { code: 'E_POISON' });
          tally.add(`${key} ${payload as string}`);
        },
      },
      poll: 2,
      maxAttempts: 3,
      backoff: { base: 1, max: 2 },
      onFailure: ({ dead }) => failures.add(dead),
    };
    await using relay = storage.outbox.relay(options);
    await enqueue(storage, 'ann', 'poison');
    await enqueue(storage, 'ann', 'next');
    await enqueue(storage, 'bob', 'other');
    await failures.until(3);
    await tally.until(1);
    expect([failures.seen, tally.seen]).toEqual([[false, false, true], ['bob other']]);
    const { items, ...pages } = await storage.outbox.list({ state: 'dead' });
    const [letter, ...others] = items;
    expect([others, pages]).toEqual([[], {}]);
    expect(letter).toMatchObject({ key: 'ann', payload: 'poison', attempts: 3, error: 'E_POISON' });
    expect(letter!.deadAt).toBeInstanceOf(Date);
    cured = true;
    await storage.outbox.retry(letter!);
    await tally.until(3);
    expect(tally.seen.slice(1)).toEqual(['ann poison', 'ann next']);
    await relay.stop();
    expect(relay.status()).toMatchObject({ delivered: 3, failed: 3, dead: 1 });
    expect(await kept(storage)).toEqual([0, 0, 0]);
    await expect(storage.outbox.retry(letter!)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a dead letter that is dropped lets its key go on', async () => {
    const tally = new Tally<unknown>();
    const failures = new Tally<boolean>();
    await using relay = storage.outbox.relay({
      handlers: {
        mail: async ({ payload }) => {
          if (payload === 'poison') throw new Error('no');
          tally.add(payload);
        },
      },
      maxAttempts: 1,
      onFailure: ({ dead }) => failures.add(dead),
    });
    await enqueue(storage, 'ann', 'poison');
    await enqueue(storage, 'ann', 'next');
    await failures.until(1);
    const [letter] = (await storage.outbox.list({ state: 'dead' })).items;
    await expect(storage.outbox.drop({ tenant: 'other', id: letter!.id })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await storage.outbox.drop(letter!);
    await tally.until(1);
    await relay.stop();
    expect(tally.seen).toEqual(['next']);
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('lists what is not delivered, page by page', async () => {
    const failures = new Tally<boolean>();
    for (const n of [1, 2, 3]) await enqueue(storage.tenant('one'), 'ann', n);
    await enqueue(storage.tenant('two'), 'bob', 4, 'page');
    const relay = storage.outbox.relay({
      handlers: { page: () => Promise.reject(Object.assign(new Error('no'), { code: 'E_NO' })) },
      maxAttempts: 1,
      onFailure: ({ dead }) => failures.add(dead),
    });
    await failures.until(1);
    await relay.stop();
    const seen = [];
    for (let after: string | undefined; ;) {
      const { items, next } = await storage.outbox.list({ limit: 2, after });
      seen.push(...items);
      if (next === undefined) break;
      after = next;
    }
    const waiting = { tenant: 'one', topic: 'mail', key: 'ann', state: 'waiting', attempts: 0 };
    const dead = { tenant: 'two', topic: 'page', payload: 4, state: 'dead', attempts: 1, error: 'E_NO' };
    expect(seen).toMatchObject([waiting, waiting, waiting, { ...dead, deadAt: expect.any(Date) }]);
    expect(seen.map(({ payload }) => payload).sort()).toEqual([1, 2, 3, 4]);
    const ofList = async (options: OutboxListOptions): Promise<unknown[]> =>
      (await storage.outbox.list(options)).items.map(({ payload }) => payload).sort();
    expect(await ofList({ state: 'waiting' })).toEqual([1, 2, 3]);
    expect(await ofList({ state: 'dead' })).toEqual([4]);
    expect(await ofList({ topic: 'page' })).toEqual([4]);
    expect(await ofList({ tenant: 'one' })).toEqual([1, 2, 3]);
    expect(await ofList({ tenant: 'one', state: 'dead' })).toEqual([]);
    const { next } = await storage.outbox.list({ limit: 2 });
    await expect(storage.outbox.list({ limit: 2, tenant: 'one', after: next })).rejects.toMatchObject({
      code: 'INVALID_CURSOR',
    });
    for (const options of [{ state: 'delivered' }, { topic: 'No' }, { tenant: '' }, { limit: 0 }])
      await expect(storage.outbox.list(options as OutboxListOptions)).rejects.toMatchObject({ code: 'VALIDATION' });

    const tally = new Tally<unknown>();
    const note = async ({ payload }: OutboxMessage): Promise<void> => tally.add(payload);
    expect([await storage.outbox.dropAll({ topic: 'mail' }), await storage.outbox.retryAll()]).toEqual([0, 1]);
    await using last = storage.outbox.relay({ handlers: { mail: note, page: note } });
    await tally.until(4);
    await last.stop();
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('an error that is said to be permanent makes a dead letter at once; letters are dropped by topic', async () => {
    const failures = new Tally<DeliveryFailure>();
    const relay = storage.outbox.relay({
      handlers: { mail: () => Promise.reject(Object.assign(new Error('no such address'), { retryable: false })) },
      onFailure: (failure) => failures.add(failure),
    });
    for (const key of ['ann', 'bob']) await enqueue(storage, key, 1);
    await failures.until(2);
    await relay.stop();
    expect(failures.seen).toMatchObject([
      { attempt: 1, dead: true },
      { attempt: 1, dead: true },
    ]);
    expect(await storage.outbox.dropAll({ topic: 'page' })).toBe(0);
    expect(await storage.outbox.dropAll({ topic: 'mail' })).toBe(2);
    // The keys' lanes, which are empty now, are the next relay's to delete.
    const tally = new Tally<unknown>();
    for (const key of ['ann', 'bob']) await enqueue(storage, key, 2);
    await using last = storage.outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) } });
    await tally.until(2);
    await last.stop();
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('the same idempotency key leaves one message, and other content under it is refused', async () => {
    const tally = new Tally<unknown>();
    const acme = storage.tenant('acme');
    const leave = (message: Partial<NewMessage>, by: Pick<StorageManager, 'transaction'> = acme): Promise<Enqueued> =>
      by.transaction((tx) =>
        tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: { a: 1, b: [2] }, idempotencyKey: 'once', ...message }),
      );
    const first = await leave({});
    expect(first).toEqual({ id: expect.any(String), duplicate: false });
    const again = { id: first.id, duplicate: true };
    expect(await leave({ payload: { b: [2], a: 1 } })).toEqual(again);
    const conflict = { code: 'CONFLICT', details: { reason: 'idempotency' }, retryable: false };
    await expect(leave({ payload: { a: 2 } })).rejects.toMatchObject(conflict);
    await expect(leave({ key: 'bob' })).rejects.toMatchObject(conflict);
    // Of its tenant and topic alone.
    expect(await leave({ topic: 'page' })).toMatchObject({ duplicate: false });
    expect(await leave({}, storage)).toMatchObject({ duplicate: false });
    await using relay = storage.outbox.relay({
      handlers: {
        mail: async (message) => tally.add(message.idempotencyKey),
        page: async (message) => tally.add(message.idempotencyKey),
      },
    });
    await tally.until(3);
    await relay.stop();
    expect([tally.seen, await kept(storage)]).toEqual([
      ['once', 'once', 'once'],
      [0, 0, 0],
    ]);
    expect(await leave({})).toEqual(again);
    await expect(leave({ payload: 1 })).rejects.toMatchObject(conflict);
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('an idempotency key in a run that is rolled back, twice in one transaction, and in several at once', async () => {
    const message = (n: number): NewMessage => ({
      topic: 'mail',
      key: `k${n}`,
      payload: n,
      idempotencyKey: `race ${n}`,
    });
    await storage
      .transaction(async (tx) => {
        await tx.outbox.enqueue(message(1));
        throw new Error('no');
      })
      .catch(() => undefined);
    const twice = await storage.transaction(async (tx) => [
      await tx.outbox.enqueue(message(1)),
      await tx.outbox.enqueue(message(1)),
    ]);
    expect(twice.map(({ duplicate }) => duplicate)).toEqual([false, true]);
    const race = await Promise.all(
      Array.from({ length: 4 }, () =>
        storage.transaction((tx) => tx.outbox.enqueue(message(2)), { retries: 1_000, isolation: 'snapshot' }),
      ),
    );
    expect(new Set(race.map(({ id }) => id)).size).toBe(1);
    expect(race.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    const tally = new Tally<unknown>();
    await using relay = storage.outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) } });
    await tally.until(2);
    await relay.stop();
    expect([tally.seen.sort(), await kept(storage)]).toEqual([
      [1, 2],
      [0, 0, 0],
    ]);
  });

  test('the idempotency key of a message that is dropped is free again', async () => {
    const failures = new Tally<boolean>();
    const leave = (): Promise<Enqueued> =>
      storage.transaction((tx) =>
        tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: 'poison', idempotencyKey: 'dropped' }),
      );
    const relay = storage.outbox.relay({
      handlers: { mail: () => Promise.reject(new Error('no')) },
      maxAttempts: 1,
      onFailure: ({ dead }) => failures.add(dead),
    });
    const { id } = await leave();
    await failures.until(1);
    await relay.stop();
    expect(await leave()).toEqual({ id, duplicate: true });
    await storage.outbox.drop({ tenant: 'default', id });
    expect(await leave()).toMatchObject({ duplicate: false });
    const tally = new Tally<unknown>();
    await using last = storage.outbox.relay({ handlers: { mail: async ({ payload }) => tally.add(payload) } });
    await tally.until(1);
    await last.stop();
    expect(await kept(storage)).toEqual([0, 0, 0]);
  });

  test('the health report has its figures, and is degraded by what waits too long or is dead', async () => {
    const { url, drop: end } = await prepare();
    const settings = { databases: { main: url }, health: { cache: 0 }, outbox: { maxAge: 1 } };
    const figures = async (manager: StorageManager) => {
      const { status, details, critical } = (await manager.health()).components['outbox:main']!;
      expect([critical, (await manager.ready()).ok]).toEqual([false, true]);
      return { status, ...details };
    };
    // Figures are read at most every 30 seconds, so each look is another manager's.
    const look = async (work: (manager: StorageManager) => Promise<void>) => {
      const manager = await openStorage(settings, { environment: {} });
      const before = await figures(manager);
      await work(manager);
      const after = await figures(manager);
      await manager.close();
      return [before, after];
    };
    const unused = { status: 'healthy' };
    expect(await look(async () => undefined)).toEqual([unused, unused]);
    const failures = new Tally<boolean>();
    const [before, after] = await look(async (manager) => {
      await enqueue(manager, 'ann', 'poison');
      const relay = manager.outbox.relay({
        handlers: { mail: () => Promise.reject(new Error('no')) },
        maxAttempts: 1,
        onFailure: ({ dead }) => failures.add(dead),
      });
      await failures.until(1);
      await relay.stop();
      await enqueue(manager, 'ann', 'next');
      const { oldest } = await manager.outbox.backlog();
      while (Date.now() - oldest!.getTime() < 50) await settled();
    });
    expect(before).toEqual(unused);
    expect(after).toEqual({ status: 'degraded', waiting: 1, dead: 1, oldestMs: expect.any(Number) });
    await end();
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
    await storage.transaction(async (tx) => {
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
    expect(() => storage.outbox.relay(options as unknown as RelayOptions)).toThrow(
      expect.objectContaining({ code: 'VALIDATION' }),
    );
  });
});

/** Writers side by side; what they leave is numbered by the order of their commits, a key apart. */
async function fill(
  storage: Pick<StorageManager, 'transaction'>,
  keys: readonly string[],
  each: number,
): Promise<void> {
  const add = (key: string) =>
    storage.transaction(
      async (tx) => {
        const number = await tx.sequences().next(key);
        await tx.outbox.enqueue({ topic: 'mail', key, payload: number });
      },
      { retries: 1_000 },
    );
  await Promise.all(keys.flatMap((key) => Array.from({ length: each }, () => add(key))));
}

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
  await Promise.all(relays.map((relay) => relay.stop()));
  const expected = Array.from({ length: 5 * managers.length }, (_, i) => i + 1);
  for (const key of keys) expect(delivered.get(key)).toEqual(expected);
  expect(await kept(managers[0]!)).toEqual([0, 0, 0]);
}

for (const { name, prepare } of TARGETS.filter(({ server }) => server))
  describe(`several processes on ${name}`, () => {
    let managers: StorageManager[];
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const { url, drop: end } = await prepare();
      drop = end;
      managers = await Promise.all([1, 2, 3].map(() => openStorage({ databases: { main: url } })));
    });
    afterAll(async () => {
      await Promise.all(managers.map((manager) => manager.close()));
      await drop();
    });

    test('nothing is lost or out of order', () => checkDelivery(managers), 60_000);

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
      await Promise.all(relays.map((relay) => relay.stop()));
      expect(tally.seen[0]).toBe('other');
      expect([...tally.seen].sort()).toEqual(['late', 'other', 'shared, first', 'shared, second']);
      expect(tally.seen.filter((payload) => payload.startsWith('shared'))).toEqual(['shared, first', 'shared, second']);
      expect(await kept(first!)).toEqual([0, 0, 0]);
    }, 60_000);
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
    20_000,
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
    await Promise.all(relays.map((relay) => relay.stop()));
    expect(tally.seen.slice(0, 2).sort()).toEqual(['other', 'shared, early']);
    expect(tally.seen.slice(2).sort()).toEqual(['late', 'shared, late']);
    expect(await kept(first)).toEqual([0, 0, 0]);
    await Promise.all(managers.map((manager) => manager.close()));
  });
});
