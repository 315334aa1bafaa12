/** Hosts whose clock is an hour off, or is set by an hour while they work: leases, locks and times to live. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { offsetClock, systemClock } from '../../src/clock.js';
import type { StorageManager } from '../../src/manager.js';
import { describeServer, Fixture, gate, until } from '../support/postgres/fixture.js';
import { openManager } from '../support/shared-memory.js';

const HOUR = 3_600_000;

describeServer('a clock that is wrong', () => {
  let fixture: Fixture;
  let right: StorageManager;
  let wrong: StorageManager;
  let shift: number;
  beforeEach(async () => {
    fixture = await Fixture.open();
    right = await openManager(fixture.url, systemClock);
  });
  afterEach(async () => {
    await Promise.all([right.close(), wrong.close()]);
    await fixture.close();
  });
  const open = async (): Promise<void> => {
    const clock = offsetClock(systemClock, () => shift);
    wrong = await openManager(fixture.url, clock);
  };

  const agree = async (): Promise<void> => {
    for (const [name, here, there] of [
      ['right', right, wrong],
      ['wrong', wrong, right],
    ] as const) {
      await here.kv.set('clock', name, 1, { ttlSeconds: 60 });
      const left = await there.kv.ttl('clock', name);
      expect(left).toBeGreaterThan(30);
      expect(left).toBeLessThan(90);
      const lock = await here.kv.lock('clock', name, { ttlSeconds: 60 });
      await expect(there.kv.lock('clock', name, { ttlSeconds: 60 })).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await here.kv.unlock('clock', name, lock.token)).toBe(true);
    }
  };

  test.each([HOUR, -HOUR])('by %d ms from the beginning: both hosts mean the same time', async (off) => {
    shift = off;
    await open();
    await agree();
    const release = gate();
    const seen: string[] = [];
    const holding = right.outbox.relay({
      handlers: { mail: () => release.passed.then(() => seen.push('right')) },
      poll: 20,
      concurrency: 1,
    });
    await wrong.transaction((tx) => tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1 }));
    await until(() => holding.status().inFlight === 1);
    const impatient = wrong.outbox.relay({ handlers: { mail: async () => seen.push('wrong') }, poll: 5 });
    await wrong.transaction((tx) => tx.outbox.enqueue({ topic: 'mail', key: 'other', payload: 2 }));
    // It has looked, and left alone what is held.
    await until(() => seen.length === 1);
    release.open();
    await until(() => seen.length === 2);
    await Promise.all([holding.stop(), impatient.stop()]);
    expect(seen.at(-1)).toBe('right');
  });

  test.each([HOUR, -HOUR])(
    'set by %d ms at work: deadlines hold, and after a health check the time is right',
    async (off) => {
      shift = 0;
      await open();
      await agree();
      const release = gate();
      const inside = wrong.transaction(async (tx) => {
        await tx.kv.set('clock', 'during', 1);
        await release.passed;
        await tx.kv.set('clock', 'after', 1);
      });
      shift = off;
      release.open();
      await inside;
      // One that takes long changes nothing.
      await until(async () => {
        const { details } = (await wrong.health()).components['main']!;
        return Math.abs(Number(details['clockOffset']) + off) < 10_000;
      });
      await agree();
    },
  );

  test('set an hour on at work: a lease is taken over, its message comes again, and nothing is lost', async () => {
    shift = 0;
    await open();
    const tokens: number[] = [];
    let aborted = false;
    const holding = right.outbox.relay({
      handlers: {
        mail: (_message, { signal, token }) => {
          tokens.push(token);
          return new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => {
              aborted = true;
              reject(signal.reason as Error);
            }),
          );
        },
      },
      lease: 600,
      poll: 20,
    });
    await right.transaction((tx) => tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1 }));
    await until(() => tokens.length === 1);
    shift = HOUR;
    const other = wrong.outbox.relay({
      handlers: { mail: async (_message, { token }) => tokens.push(token) },
      poll: 20,
    });
    await until(() => tokens.length === 2);
    expect(tokens[1]).toBeGreaterThan(tokens[0]!);
    await until(() => aborted);
    await until(async () => (await right.outbox.backlog()).waiting === 0);
    expect((await right.outbox.list({ state: 'dead' })).items).toEqual([]);
    await Promise.all([holding.stop(), other.stop()]);
  });
});
