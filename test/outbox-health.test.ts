/** What the health report says of an outbox whose database has no connection free. */
import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { OutboxHealth } from '../src/outbox-health.js';
import { databaseOf } from './support/open-parts.js';
import { enqueue } from './support/outbox.js';
import { storageTargets } from './support/storage-targets.js';

const targets = storageTargets('health of the outbox').filter(({ transactions }) => transactions);

/** A manager whose database has one connection, and work done while a transaction has it. */
async function withOneConnection(
  { server, prepare }: (typeof targets)[number],
  work: (manager: StorageManager, held: <R>(during: () => Promise<R>) => Promise<R>) => Promise<void>,
): Promise<void> {
  const { url, drop } = await prepare();
  const main = { url, ...(server ? { pool: { max: 1 } } : {}) };
  const manager = await openStorage({ databases: { main }, health: { cache: 0 } }, { environment: {} });
  const held = <R>(during: () => Promise<R>): Promise<R> =>
    manager.transaction(async (tx) => {
      // A transaction may take its connection with its first statement only.
      await tx.sequences().next('held');
      return during();
    });
  try {
    await work(manager, held);
  } finally {
    await manager.close();
    await drop();
  }
}

describe.each(targets)('health of the outbox on $name', (target) => {
  test('waits for no connection, and makes no other operation seem to wait', async () => {
    await withOneConnection(target, async (manager, held) => {
      await enqueue(manager, 'ann', 'first');
      const began = performance.now();
      const { components } = await held(() => manager.health());
      expect(performance.now() - began).toBeLessThan(4_500);
      expect(components['main']).toMatchObject({ status: 'healthy' });
      expect(components['outbox:main']).toMatchObject({ status: 'healthy' });
      expect((await manager.health()).components['outbox:main']).toMatchObject({
        status: 'healthy',
        details: { waiting: 1, dead: 0 },
      });
    });
  });

  test('tells what it knew, and how old that is, while all connections are in use', async () => {
    await withOneConnection(target, async (manager, held) => {
      await enqueue(manager, 'ann', 'first');
      const { backend } = databaseOf(manager);
      let later = 0;
      const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
      const health = new OutboxHealth({ name: 'outbox:main', backend, clock, maxAge: 60_000, isUsed: () => true });
      const { signal } = new AbortController();
      const check = () => health.check(signal);
      // In memory there is no bound, and on MongoDB a transaction takes its turn with each statement.
      const isEverFull = await held(async () => backend.pool.figures().idle === 0 && backend.pool.figures().max === 1);
      const unknown = { status: 'healthy', message: expect.stringMatching(/not known.* in use/) as unknown };
      const read = { status: 'healthy', details: { waiting: 1, dead: 0, oldestMs: expect.any(Number) as unknown } };
      expect(await held(check)).toEqual(isEverFull ? unknown : read);
      expect(await check()).toEqual(read);
      later = 40_000;
      const old = { ...read.details, ageMs: expect.any(Number) as unknown };
      const told = await held(check);
      expect(told).toEqual(isEverFull ? { ...read, details: old } : read);
      if (isEverFull) expect(told.details!['ageMs']).toBeGreaterThanOrEqual(40_000);
    });
  });
});
