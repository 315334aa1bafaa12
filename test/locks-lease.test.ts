/** The lease of a lock by a clock that the test moves: renewals, their failures, and what comes too late. */
import { describe, expect, test } from '@jest/globals';
import type { RecordBackend } from '../src/backends/backend.js';
import { memory as backends } from '../src/backends/memory.js';
import { memory as pools } from '../src/pools/memory.js';
import { Locks, type LockHost } from '../src/unit-of-work/locks.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { gate } from './support/postgres/fixture.js';
import { sharedMemory } from './support/shared-memory.js';

const TTL = 30_000;
const lost = (reason: string): object => ({ code: 'LEASE_LOST', details: { name: 'l', token: 1, reason } });

interface Host extends LockHost {
  readonly clock: ManualClock;
  writes: number;
  /** Admitted operations that have not ended. */
  inFlight: number;
  /** What each write waits for, once the database has done it. */
  answer: () => Promise<void>;
}

/** A database that answers when the test says. */
async function makeHost(): Promise<Host> {
  const clock = new ManualClock();
  const pool = pools.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
  const real = backends.create(pool, 'records:main');
  const write: RecordBackend['write'] = async (...call) => {
    host.writes++;
    const results = await real.write(...call);
    await host.answer();
    return results;
  };
  const host: Host = {
    backend: new Proxy(real, {
      get: (target, key) => (key === 'write' ? write : (Reflect.get(target, key) as unknown)),
    }),
    tenant: 't',
    clock,
    writes: 0,
    inFlight: 0,
    answer: async () => undefined,
    begin: () => {
      let isOver = false;
      host.inFlight++;
      return {
        context: { now: clock.now(), deadline: clock.monotonic() + 60_000 },
        end: () => {
          if (!isOver) host.inFlight--;
          isOver = true;
        },
      };
    },
    ensure: () => undefined,
    onClosing: () => () => undefined,
  };
  return host;
}

describe('a lease', () => {
  test('is renewed at a third of it, and leaves no timer behind', async () => {
    const host = await makeHost();
    const locks = new Locks(host);
    const lock = await locks.acquire('l');
    for (let i = 0; i < 20; i++) {
      await host.clock.advance(TTL / 2);
      await expect(locks.acquire('l')).rejects.toMatchObject({ code: 'CONFLICT' });
    }
    expect(host.writes).toBe(1 + 30 + 20);
    expect(host.inFlight).toBe(1);
    expect(await lock.release()).toBe(true);
    expect([host.clock.timers, host.inFlight]).toEqual([0, 0]);
  });

  test('that cannot be renewed is lost when it ends, and the cause is told', async () => {
    const host = await makeHost();
    const lock = await new Locks(host).acquire('l');
    await host.backend.pool.close(host.clock.monotonic());
    await host.clock.advance(TTL - 1);
    expect(lock.signal.aborted).toBe(false);
    await host.clock.advance(1);
    expect(lock.signal.reason).toMatchObject({ ...lost('expired'), cause: { code: 'CLOSED' } });
    await expect(lock.renew()).rejects.toBe(lock.signal.reason);
    const { writes } = host;
    expect(await lock.release()).toBe(false);
    expect([host.writes, host.clock.timers, host.inFlight]).toEqual([writes, 0, 0]);
  });

  test('outlasts failures that are shorter than it', async () => {
    const host = await makeHost();
    await using lock = await new Locks(host).acquire('l');
    const { expiresAt } = lock;
    host.answer = () => Promise.reject(new Error('no connection'));
    await host.clock.advance(TTL - 1);
    host.answer = async () => undefined;
    // The database did them all, and answered none of them.
    expect(host.writes).toBe(1 + 8);
    expect(lock.expiresAt).toEqual(expiresAt);
    await host.clock.advance(0);
    expect(lock.signal.aborted).toBe(false);
    await lock.renew();
    await host.clock.advance(10 * TTL);
    expect(lock.signal.aborted).toBe(false);
  });

  test('that nobody renews ends by the clock', async () => {
    const host = await makeHost();
    const locks = new Locks(host);
    const lock = await locks.acquire('l', { renew: false, ttl: 1_000 });
    await host.clock.advance(900);
    await lock.renew();
    await host.clock.advance(999);
    expect(lock.signal.aborted).toBe(false);
    await host.clock.advance(1);
    expect(lock.signal.reason).toMatchObject(lost('expired'));
    expect((await locks.acquire('l', { renew: false })).token).toBe(2);
  });

  test('that nobody renews ends at its timer, which comes a moment early as those of the system do', async () => {
    const host = await makeHost();
    host.clock.after = (milliseconds, callback) =>
      ManualClock.prototype.after.call(host.clock, milliseconds - 0.5, callback);
    const lock = await new Locks(host).acquire('l', { renew: false, ttl: 1_000 });
    await host.clock.advance(999);
    expect(lock.signal.aborted).toBe(false);
    await host.clock.advance(1_000);
    expect(lock.signal.reason).toMatchObject(lost('expired'));
    expect(await lock.release()).toBe(false);
    expect([host.clock.timers, host.inFlight]).toEqual([0, 0]);
  });

  test('whose renewal comes too late is given back', async () => {
    const host = await makeHost();
    const locks = new Locks(host);
    const lock = await locks.acquire('l');
    const answered = gate();
    host.answer = () => answered.passed;
    await host.clock.advance(TTL);
    expect(lock.signal.reason).toMatchObject(lost('expired'));
    expect(await locks.inspect('l')).toMatchObject({ token: 1 });
    answered.open();
    await settled();
    expect(await locks.inspect('l')).toBeUndefined();
    expect([host.clock.timers, host.inFlight]).toEqual([0, 0]);
  });

  test('that is given back while it is renewed is not taken back', async () => {
    const host = await makeHost();
    const locks = new Locks(host);
    const lock = await locks.acquire('l');
    const answered = gate();
    host.answer = () => answered.passed;
    await host.clock.advance(TTL / 3);
    const release = lock.release();
    answered.open();
    expect(await release).toBe(true);
    await host.clock.advance(10 * TTL);
    expect(await locks.inspect('l')).toBeUndefined();
    expect(host.clock.timers).toBe(0);
  });

  test('that was taken without an answer is given back', async () => {
    const host = await makeHost();
    const locks = new Locks(host);
    const { StorageError } = await import('../src/errors.js');
    host.answer = () => {
      host.answer = async () => undefined;
      return Promise.reject(new StorageError('OUTCOME_UNKNOWN', 'no answer'));
    };
    await expect(locks.acquire('l')).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await settled();
    expect(await locks.inspect('l')).toBeUndefined();
    expect(host.inFlight).toBe(0);
    expect((await locks.acquire('l', { renew: false })).token).toBe(2);
  });

  test('whose end cannot be written is held to its end, and may be given back again', async () => {
    const host = await makeHost();
    const locks = new Locks(host);
    const lock = await locks.acquire('l');
    const { backend } = host;
    const fault = new Error('no connection');
    const cutOff = new Proxy(backend, {
      get: (target, key) => (key === 'write' ? () => Promise.reject(fault) : (Reflect.get(target, key) as unknown)),
    });
    Object.assign(host, { backend: cutOff });
    await expect(lock.release()).rejects.toBe(fault);
    await lock[Symbol.asyncDispose]();
    expect(await locks.inspect('l')).toMatchObject({ token: 1 });
    Object.assign(host, { backend });
    expect(await lock.release()).toBe(true);
    expect(await locks.inspect('l')).toBeUndefined();
  });

  test.each([
    [0, true],
    [TTL, false],
  ])('whose release was not answered was given back, as far as can be known %d ms later', async (later, isFree) => {
    const host = await makeHost();
    const lock = await new Locks(host).acquire('l', { ttl: TTL, renew: false });
    const fault = new Error('no answer');
    host.answer = () => Promise.reject(fault);
    await expect(lock.release()).rejects.toBe(fault);
    host.answer = async () => undefined;
    await host.clock.advance(later);
    const next = await new Locks(host).acquire('l', { renew: false });
    expect(await lock.release()).toBe(isFree);
    expect(await next.release()).toBe(true);
  });
});

test('of many that wait only one asks, ever more seldom', async () => {
  const host = await makeHost();
  const [held, waiting] = [new Locks({ ...host }), new Locks(host)];
  const lock = await held.acquire('l');
  const refused = Array.from({ length: 20 }, () => waiting.acquire('l', { wait: 10_000 }).catch((e: unknown) => e));
  host.writes = 0;
  await host.clock.advance(9_999);
  // Fifty milliseconds doubled up to a second, and the renewal is at ten.
  expect(host.writes).toBeGreaterThan(10);
  expect(host.writes).toBeLessThan(26);
  await host.clock.advance(1);
  for (const error of await Promise.all(refused)) expect(error).toMatchObject({ code: 'CONFLICT' });
  expect(await lock.release()).toBe(true);
  expect(host.clock.timers).toBe(0);
});

test('a process that is frozen loses its lock, and its release leaves the next one its own', async () => {
  const [clock, own] = [new ManualClock(), new ManualClock()];
  const open = sharedMemory(3, clock);
  const [frozen, awake] = [await open(own), await open()];
  const lock = await frozen.locks().acquire('l');
  await clock.advance(TTL - 1);
  await expect(awake.locks().acquire('l')).rejects.toMatchObject({ code: 'CONFLICT' });
  await clock.advance(1);
  const next = await awake.locks().acquire('l');
  expect(next.token).toBe(lock.token + 1);
  expect(lock.signal.aborted).toBe(false);
  await own.advance(TTL);
  expect(lock.signal.reason).toMatchObject({ code: 'LEASE_LOST' });
  expect(await lock.release()).toBe(false);
  expect(await awake.locks().inspect('l')).toMatchObject({ token: next.token });
  await Promise.all([frozen.close(), awake.close()]);
});

test('a function under a lock that is lost is told so, whatever its calls make of the signal', async () => {
  const host = await makeHost();
  const locks = new Locks(host);
  const { aborted } = await import('../src/clock.js');
  const work = locks.withLock(
    'l',
    { renew: false },
    ({ signal }) => new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(aborted(signal)))),
  );
  const outcome = expect(work).rejects.toMatchObject(lost('expired'));
  await host.clock.advance(TTL);
  await outcome;
  const busy = locks.withLock('l', { renew: false }, async ({ signal }) => {
    await host.clock.advance(TTL);
    return signal.aborted;
  });
  await expect(busy).rejects.toMatchObject({ code: 'LEASE_LOST', details: { reason: 'expired', token: 2 } });
});
