/** One holder at a time, on every database. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { offsetClock, systemClock } from '../src/clock.js';
import { defineCollection, isStorageError, type Lock, type Locks } from '../src/index.js';
import { StorageManager } from '../src/manager.js';
import { registry } from '../src/registry.js';
import { loadSettings } from '../src/settings.js';
import { until } from './support/postgres/fixture.js';
import { storageTargets } from './support/storage-targets.js';

const Counts = defineCollection<{ count: number }>({ name: 'lock_counts', id: 'given' });
const CONTENDERS = 20;

async function open(url: string, offset: () => number): Promise<StorageManager> {
  const settings = await loadSettings({ registry, environment: {}, overrides: { databases: { main: { url } } } });
  const manager = new StorageManager({ registry, settings, clock: offsetClock(systemClock, offset) });
  await manager.open();
  return manager;
}

describe.each(storageTargets('locks'))('locks on $name', ({ prepare, server, transactions }) => {
  let storage: StorageManager;
  let other: StorageManager;
  let url: string;
  let drop: () => Promise<void>;
  let moved = 0;
  beforeAll(async () => {
    ({ url, drop } = await prepare());
    storage = await open(url, () => moved);
    // The same manager where a database has one process.
    other = server ? await open(url, () => moved) : storage;
  });
  afterAll(async () => {
    await Promise.all([storage.close(), other.close()]);
    await drop();
  });
  let tenants = 0;
  const fresh = (): { mine: Locks; theirs: Locks; tenant: string } => {
    const tenant = `t${++tenants}`;
    return { tenant, mine: storage.tenant(tenant).locks(), theirs: other.tenant(tenant).locks() };
  };
  const locked = { code: 'CONFLICT', retryable: true, details: { name: 'l', reason: 'locked' } };

  test(`${CONTENDERS} contenders hold it one after another, and count what nothing else guards`, async () => {
    const { mine, theirs, tenant } = fresh();
    const counts = storage.tenant(tenant).collection(Counts);
    await counts.save({ count: 0 }, { id: 'c' });
    let inside = 0;
    const tokens: number[] = [];
    const add = async (locks: Locks): Promise<void> =>
      locks.withLock('l', { wait: 60_000 }, async ({ token }) => {
        expect(++inside).toBe(1);
        tokens.push(token);
        const { value } = await counts.get('c');
        await counts.save({ count: value.count + 1 }, { id: 'c' });
        inside--;
      });
    await Promise.all(Array.from({ length: CONTENDERS }, (_, i) => add(i % 2 === 0 ? mine : theirs)));
    expect((await counts.get('c')).value).toEqual({ count: CONTENDERS });
    expect(tokens).toEqual(Array.from({ length: CONTENDERS }, (_, i) => i + 1));
  });

  test('a held one is refused at once, and told of', async () => {
    const { mine, theirs } = fresh();
    expect(await mine.inspect('l')).toBeUndefined();
    const lock = await mine.acquire('l', { ttl: 20_000, holder: 'worker 7' });
    expect(lock).toMatchObject({ name: 'l', token: 1, signal: { aborted: false } });
    await expect(theirs.acquire('l')).rejects.toMatchObject(locked);
    await expect(mine.acquire('l', { wait: 1 })).rejects.toMatchObject(locked);
    const seen = await theirs.inspect('l');
    expect(seen).toEqual({ name: 'l', token: 1, holder: 'worker 7', expiresAt: lock.expiresAt });
    const left = lock.expiresAt.getTime() - Date.now() - moved;
    expect(left).toBeGreaterThan(10_000);
    expect(left).toBeLessThan(30_000);
    expect(await lock.release()).toBe(true);
    expect(await lock.release()).toBe(false);
    expect(await theirs.inspect('l')).toBeUndefined();
    await expect(lock.renew()).rejects.toMatchObject({ code: 'LEASE_LOST', details: { reason: 'released' } });
    expect(lock.signal.aborted).toBe(false);
    await using second = await theirs.acquire('l');
    expect(second.token).toBe(2);
    expect((await mine.inspect('l'))?.holder).toContain(String(process.pid));
  });

  test('one that waits has it when it is given back, the first who came first', async () => {
    const { mine } = fresh();
    const first = await mine.acquire('l');
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (n) => {
      await using lock = await mine.acquire('l', { wait: 30_000 });
      order.push(n);
      expect(lock.token).toBe(n + 1);
    });
    await first.release();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  test('tenants are apart, and so are databases of the name', async () => {
    const [one, two] = [fresh(), fresh()];
    await using lock = await one.mine.acquire('l');
    await using same = await two.mine.acquire('l');
    expect([lock.token, same.token]).toEqual([1, 1]);
  });

  test('what is not renewed is taken over when its time is up, and stays with whoever has it', async () => {
    const { mine, theirs } = fresh();
    const lock = await mine.acquire('l', { renew: false });
    await expect(theirs.acquire('l')).rejects.toMatchObject(locked);
    moved += 31_000;
    expect(await mine.inspect('l')).toBeUndefined();
    await using next = await theirs.acquire('l');
    expect(next.token).toBe(2);
    expect(lock.signal.aborted).toBe(false);
    await expect(lock.renew()).rejects.toMatchObject({ code: 'LEASE_LOST', details: { reason: 'taken', token: 1 } });
    expect(lock.signal.reason).toMatchObject({ code: 'LEASE_LOST' });
    expect(await lock.release()).toBe(false);
    expect(await theirs.inspect('l')).toMatchObject({ token: 2 });
    await next.renew();
  });

  test('one that lost it finds out when it gives it back', async () => {
    const { mine, theirs } = fresh();
    const lock = await mine.acquire('l', { renew: false });
    moved += 31_000;
    await using next = await theirs.acquire('l');
    expect(await lock.release()).toBe(false);
    expect(await theirs.inspect('l')).toMatchObject({ token: next.token });
  });

  test('it is renewed for as long as it is held', async () => {
    const { mine, theirs } = fresh();
    const lock = await mine.acquire('l', { ttl: 6_000 });
    const end = lock.expiresAt.getTime();
    await until(() => lock.expiresAt.getTime() > end);
    await expect(theirs.acquire('l')).rejects.toMatchObject(locked);
    const seen = await theirs.inspect('l');
    expect(seen).toMatchObject({ token: 1 });
    expect(seen!.expiresAt.getTime()).toBeGreaterThan(end);
    expect(lock.signal.aborted).toBe(false);
    expect(await lock.release()).toBe(true);
  });

  test('a function that lost its lock has no result, and what it throws is told', async () => {
    const { mine, theirs } = fresh();
    let taken: Lock | undefined;
    const steal = async (): Promise<void> => {
      moved += 31_000;
      taken = await theirs.acquire('l');
    };
    const lost = mine.withLock('l', { renew: false }, async () => {
      await steal();
      return 'done';
    });
    await expect(lost).rejects.toMatchObject({ code: 'LEASE_LOST', details: { name: 'l', token: 1, reason: 'taken' } });
    expect(await taken!.release()).toBe(true);
    const failed = mine.withLock('l', {}, async () => {
      throw new Error('own');
    });
    await expect(failed).rejects.toThrow('own');
    expect(await mine.withLock('l', {}, async ({ token }) => token)).toBe(4);
    expect(await mine.inspect('l')).toBeUndefined();
  });

  test('in a transaction it is refused', async () => {
    const { mine, tenant } = fresh();
    const own = storage.tenant(tenant);
    const refusal = { code: 'UNSUPPORTED' };
    await expect(own.transaction(async (tx) => tx.locks().acquire('l'))).rejects.toMatchObject(refusal);
    if (!transactions) return;
    const outer = { code: 'VALIDATION' };
    await expect(own.transaction(() => mine.acquire('l'))).rejects.toMatchObject(outer);
    await expect(own.transaction(() => mine.acquire('l', { wait: 10_000 }))).rejects.toMatchObject(outer);
    await using lock = await mine.acquire('l');
    await expect(own.transaction(() => lock.release())).rejects.toMatchObject(outer);
    await expect(own.transaction(() => lock.renew())).rejects.toMatchObject(outer);
    expect(await mine.inspect('l')).toMatchObject({ token: 1 });
  });

  test('a waiter whose signal aborts leaves the queue to the next', async () => {
    const { mine } = fresh();
    const lock = await mine.acquire('l');
    const stop = new AbortController();
    const aborted = mine.acquire('l', { wait: Infinity, signal: stop.signal });
    const next = mine.acquire('l', { wait: 30_000 });
    stop.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    await lock.release();
    expect(await (await next).release()).toBe(true);
    await expect(mine.acquire('l', { signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  if (server)
    test('close() gives back what is held, and keeps a function its lock', async () => {
      // Of the server's own time: what was moved before is measured and taken back when a manager opens.
      const { tenant } = fresh();
      await using witness = await open(url, () => 0);
      const mine = witness.tenant(tenant).locks();
      const third = await open(url, () => 0);
      const locks = third.tenant(tenant).locks();
      const lock = await locks.acquire('l');
      const waiting = locks.acquire('l', { wait: Infinity });
      let end!: () => void;
      let scoped: Lock | undefined;
      const begun = new Promise<void>((resolve) => {
        end = resolve;
      });
      const work = locks.withLock('scoped', {}, async (held) => {
        scoped = held;
        await begun;
        return 'done';
      });
      await until(() => scoped !== undefined);
      const closing = third.close();
      expect(lock.signal.reason).toMatchObject({ code: 'CLOSED' });
      await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
      await until(async () => (await mine.inspect('l')) === undefined);
      expect(scoped!.signal.reason).toMatchObject({ code: 'CLOSED' });
      expect(await mine.inspect('scoped')).toBeDefined();
      end();
      expect(await work).toBe('done');
      await closing;
      expect(await mine.inspect('scoped')).toBeUndefined();
      // The waiter may have been about to take it.
      expect((await mine.acquire('l')).token).toBeGreaterThan(1);
      await expect(locks.acquire('m')).rejects.toMatchObject({ code: 'CLOSED' });
    });

  const bad = (value: unknown): never => value as never;
  test.each<[string, string, (locks: Locks) => Promise<unknown>]>([
    ['no name', 'name', (locks) => locks.acquire(bad(undefined))],
    ['an empty name', 'name', (locks) => locks.acquire('')],
    ['a name with a control character', 'name', (locks) => locks.acquire('a\n')],
    ['a name that is too long', 'name', (locks) => locks.acquire('x'.repeat(256))],
    ['options that are none', 'options', (locks) => locks.acquire('l', bad(null))],
    ['an unknown option', 'tll', (locks) => locks.acquire('l', bad({ tll: 1_000 }))],
    ['a ttl that is too short', 'ttl', (locks) => locks.acquire('l', { ttl: 99 })],
    ['a ttl that is too long', 'ttl', (locks) => locks.acquire('l', { ttl: 2 ** 31 })],
    ['a ttl that is no number', 'ttl', (locks) => locks.acquire('l', { ttl: bad('30s') })],
    ['a ttl that is NaN', 'ttl', (locks) => locks.acquire('l', { ttl: NaN })],
    ['a negative wait', 'wait', (locks) => locks.acquire('l', { wait: -1 })],
    ['a wait that is no number', 'wait', (locks) => locks.acquire('l', { wait: bad(true) })],
    ['renew that is no boolean', 'renew', (locks) => locks.acquire('l', { renew: bad(1) })],
    ['a holder that is no text', 'holder', (locks) => locks.acquire('l', { holder: bad(7) })],
    ['a timeout of nothing', 'timeout', (locks) => locks.acquire('l', { timeout: 0 })],
    ['a timeout of nothing, waiting', 'timeout', (locks) => locks.acquire('l', { timeout: 0, wait: 10 })],
    ['a signal that is none', 'signal', (locks) => locks.acquire('l', { signal: bad({}) })],
    ['no options of a function', 'options', (locks) => locks.withLock('l', bad(undefined), async () => 1)],
    ['no function', 'work', (locks) => locks.withLock('l', {}, bad(undefined))],
    ['a name of nothing, of a function', 'name', (locks) => locks.withLock('', {}, async () => 1)],
    ['no name to look at', 'name', (locks) => locks.inspect(bad(7))],
    ['options that are none, to look', 'options', (locks) => locks.inspect('l', bad(null))],
    ['a timeout that is none, to look', 'timeout', (locks) => locks.inspect('l', { timeout: bad('1') })],
  ])('%s is refused by its name', async (_case, key, call) => {
    const { mine } = fresh();
    const error: unknown = await call(mine).catch((thrown: unknown) => thrown);
    if (!isStorageError(error, 'VALIDATION')) throw new Error('no VALIDATION', { cause: error });
    expect([error.details['key'], error.message.startsWith(`${key}: `)]).toEqual([key, true]);
    expect(await mine.inspect('l')).toBeUndefined();
  });

  test('an unknown database is refused', () => {
    expect(() => storage.locks({ on: 'none' })).toThrow('No database "none"');
  });
});
