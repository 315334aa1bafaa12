/** Processes that contend for locks and numbers, that are killed while they hold a lock, and that are frozen. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { defineCollection, openStorage, type StorageManager } from '../src/index.js';
import { until } from './support/postgres/fixture.js';
import { giveWay } from './support/run.js';
import { storageTargets } from './support/storage-targets.js';

const CHILD = fileURLToPath(new URL('./children/lock-contender.js', import.meta.url));
const Counts = defineCollection<{ count: number }>({ name: 'lock_counts', id: 'given' });
const [PROCESSES, ROUNDS] = [8, 10];
const LIMIT = 240_000;

interface Told {
  readonly tokens: readonly number[];
  readonly fences: readonly number[];
  readonly numbers: readonly number[];
}

/** A SQLite file is several processes' as a server is. */
const file = {
  name: 'sqlite',
  prepare: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quartermaster-locks-'));
    return { url: `sqlite:${join(folder, 'data.db')}`, drop: () => rm(folder, { recursive: true, force: true }) };
  },
};
const targets = [...storageTargets('lock processes').filter(({ server }) => server), file];

describe.each(targets)('processes on $name', ({ prepare }) => {
  let storage: StorageManager;
  let url: string;
  let drop: () => Promise<void>;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    ({ url, drop } = await prepare());
    storage = await openStorage({ databases: { main: url } }, { environment: {} });
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await storage.close();
    await drop();
  });

  function start(task: 'count' | 'hold', figure: number): { child: ChildProcess; next: () => Promise<unknown> } {
    const child = spawn(process.execPath, [CHILD, url, task, String(figure)], { stdio: ['pipe', 'pipe', 'inherit'] });
    giveWay(child);
    children.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, next: async () => JSON.parse((await lines.next()).value as string) as unknown };
  }

  test(
    `${PROCESSES} of them hold it one after another, and no number is given twice`,
    async () => {
      const counts = storage.collection(Counts);
      await counts.save({ count: 0 }, { id: 'c' });
      const started = Array.from({ length: PROCESSES }, () => start('count', ROUNDS));
      for (const { next } of started) expect(await next()).toBe('ready');
      for (const { child } of started) child.stdin!.write('go\n');
      const told = (await Promise.all(started.map(({ next }) => next()))) as Told[];
      const all = PROCESSES * ROUNDS;
      const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);
      const given = (key: keyof Told): number[] => told.flatMap((one) => one[key]).sort((a, b) => a - b);
      expect((await counts.get('c')).value).toEqual({ count: all });
      expect(given('fences')).toEqual(upTo(all));
      expect(given('numbers')).toEqual(upTo(3 * all));
      expect(given('tokens')).toEqual(upTo(all));
      for (const { tokens } of told) expect(tokens).toEqual([...tokens].sort((a, b) => a - b));
    },
    LIMIT,
  );

  test(
    'what a killed one held is free when its time is up, not before',
    async () => {
      const { child, next } = start('hold', 5_000);
      const token = (await next()) as number;
      const held = (await storage.locks().inspect('held'))!;
      expect(held).toMatchObject({ token, holder: expect.stringContaining(`:${child.pid}`) as unknown });
      child.kill('SIGKILL');
      await once(child, 'exit');
      await expect(storage.locks().acquire('held')).rejects.toMatchObject({ code: 'CONFLICT' });
      const last = await storage.locks().inspect('held');
      await using lock = await storage.locks().acquire('held', { wait: 60_000 });
      expect(lock.token).toBe(token + 1);
      // Its renewals have moved the end, if there were any.
      expect(Date.now()).toBeGreaterThan((last ?? held).expiresAt.getTime() - 500);
    },
    LIMIT,
  );

  test(
    'a frozen one loses it to another, learns so when it wakes, and leaves the other its lock',
    async () => {
      const { child, next } = start('hold', 2_000);
      const token = (await next()) as number;
      child.kill('SIGSTOP');
      const lock = await storage.locks().acquire('held', { wait: 60_000 });
      expect(lock.token).toBe(token + 1);
      child.kill('SIGCONT');
      expect(await next()).toEqual({ code: 'LEASE_LOST', wasHeld: false });
      expect(await storage.locks().inspect('held')).toMatchObject({ token: lock.token });
      expect(await lock.release()).toBe(true);
      await until(async () => (await storage.locks().inspect('held')) === undefined);
    },
    LIMIT,
  );
});
