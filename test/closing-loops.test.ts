/** A manager that closes while a worker, a relay and a subscription are at work: their handlers end first, and may use it. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Pool } from 'pg';
import { openStorage, type StorageManager } from '../src/index.js';
import { settled } from './support/manual-clock.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';

const targets = storageTargets('loops of a manager that closes').filter(
  ({ transactions, server }) => transactions && server,
);

describe.each(targets)('loops of a manager that closes on $name', ({ prepare }) => {
  let closing: StorageManager;
  let last: StorageManager;
  let url: string;
  let drop: () => Promise<void>;
  beforeEach(async () => {
    ({ url, drop } = await prepare());
    const open = (): Promise<StorageManager> =>
      openStorage({ databases: { main: url }, events: { outbox: true } }, { environment: {} });
    [closing, last] = [await open(), await open()];
    await last.prepare([], { stores: ['jobs', 'tasks', 'kv', 'outbox'] });
  });
  afterEach(async () => {
    await Promise.all([closing.close({ deadline: 0 }), last.close()]);
    await drop();
  });

  /** Begins one of each kind, which calls `handle` with what it is. @returns the id of the job's run */
  const begin = async (handle: (kind: string, signal: AbortSignal) => Promise<unknown>): Promise<string> => {
    const job = await closing.jobs.create({ name: 'count' });
    closing.jobs.work({ count: (_run, { signal }) => handle('run', signal) });
    closing.outbox.relay({ handlers: { mail: (_message, { signal }) => handle('message', signal) } });
    await closing.subscribe('board', (_event, { signal }) => handle('event', signal), { types: ['task.created'] });
    const run = await closing.jobs.enqueueRun(job.id);
    await closing.transaction((tx) => tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1 }));
    await closing.tasks.create({ title: 'told' });
    return run.id;
  };
  const waiting = async (): Promise<number> => (await last.outbox.backlog()).waiting;

  test('let their handlers end, which may use it', async () => {
    const begun = new Tally<string>();
    let goOn = (): void => undefined;
    const going = new Promise<void>((resolve) => (goOn = resolve));
    const run = await begin(async (kind) => {
      begun.add(kind);
      await going;
      await closing.locks().withLock(kind, { ttl: 60_000 }, () => closing.kv.set('done', kind, true));
      if (url.startsWith('postgres')) await closing.sql<Pool>().query('SELECT 1');
    });
    await begun.until(3);
    const closed = closing.close();
    expect(closing.state).toBe('draining');
    expect(() => closing.kv).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    expect(() => closing.outbox.relay({ handlers: { mail: () => undefined } })).toThrow(
      expect.objectContaining({ code: 'CLOSED' }),
    );
    expect((await closing.ready()).ok).toBe(false);
    goOn();
    await closed;
    expect((await last.kv.list('done')).items.map(({ key }) => key)).toEqual(['event', 'message', 'run']);
    expect(await last.jobs.getRun(run)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await waiting()).toBe(0);
    expect(() => closing.kv).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });

  test('abort those that take too long, and give back what they held, with no attempt counted', async () => {
    const begun = new Tally<string>();
    const aborted: string[] = [];
    const run = await begin(async (kind, signal) => {
      signal.addEventListener('abort', () => aborted.push(kind));
      const lock = await closing.locks().acquire(kind, { ttl: 600_000 });
      lock.signal.addEventListener('abort', () => aborted.push(`${kind}'s lock`));
      begun.add(kind);
      await new Promise(() => undefined);
    });
    await begun.until(3);
    await closing.close({ deadline: 1_000 });
    expect(aborted.sort()).toEqual(['event', "event's lock", 'message', "message's lock", 'run', "run's lock"]);
    for (const kind of ['event', 'message', 'run']) expect(await last.locks().inspect(kind)).toBeUndefined();
    expect(await last.jobs.getRun(run)).toMatchObject({ status: 'scheduled', attempt: 0 });
    expect(await waiting()).toBe(2);
    // At once, not when the leases have ended.
    const again = new Tally<number>();
    await using _relay = last.outbox.relay({ handlers: { mail: (_message, { attempt }) => again.add(attempt) } });
    await again.until(1);
    while ((await waiting()) > 1) await settled();
    expect(again.seen).toEqual([1]);
  });

  test('end what a handler begins meanwhile', async () => {
    const begun = new Tally<string>();
    const states: string[] = [];
    let goOn = (): void => undefined;
    const going = new Promise<void>((resolve) => (goOn = resolve));
    await begin(async (kind) => {
      begun.add(kind);
      await going;
      if (kind !== 'run') return;
      const relay = closing.outbox.relay({ handlers: { mail: () => undefined } });
      while (relay.status().state !== 'stopped') await settled();
      states.push(relay.status().state);
    });
    await begun.until(3);
    const closed = closing.close();
    goOn();
    await closed;
    expect(states).toEqual(['stopped']);
  });
});
