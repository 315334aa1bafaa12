import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type DirectoryLock, HEARTBEAT_INTERVAL, HEARTBEAT_LIMIT, lockDirectory } from '../src/pools/directory-lock.js';
import { currentProcess } from '../src/pools/process-identity.js';
import { SmallDisk } from './support/postgres/small-disk.js';
import { ManualClock } from './support/manual-clock.js';

const HOLDER = fileURLToPath(new URL('./children/lock-holder.js', import.meta.url));
const NONCE = '00000000-0000-4000-8000-000000000000';

let directory: string;
let path: string;
let clock: ManualClock;
const held: DirectoryLock[] = [];
const children: Holder[] = [];

interface Holder {
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string>;
  readonly reader: Interface;
}

async function spawnHolder(): Promise<Holder> {
  const child = spawn(process.execPath, [HOLDER, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const reader = createInterface(child.stdout);
  const holder = { child, reader, lines: reader[Symbol.asyncIterator]() };
  children.push(holder);
  expect((await holder.lines.next()).value).toBe('ready');
  return holder;
}

async function tryLock({ child, lines }: Holder): Promise<unknown> {
  child.stdin!.write('go\n');
  return (await lines.next()).value as unknown;
}

async function take(): Promise<DirectoryLock> {
  const lock = await lockDirectory(path, clock, 'main');
  held.push(lock);
  return lock;
}

/** A lock file that another process left. `age` in milliseconds. */
async function leave(holder: Record<string, unknown> | string, age = 0): Promise<void> {
  const text =
    typeof holder === 'string'
      ? holder
      : JSON.stringify({ ...(await currentProcess()), nonce: NONCE, since: '2024-01-01T00:00:00.000Z', ...holder });
  await writeFile(path, text);
  const time = new Date(Date.now() - age);
  await utimes(path, time, time);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lock-'));
  path = join(directory, 'lock');
  clock = new ManualClock();
});

afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release();
  for (const { child, reader } of children.splice(0)) {
    reader.close();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await rm(directory, { recursive: true });
});

describe('a directory lock', () => {
  test('keeps a second instance of this process out, names the holder, and leaves nothing behind', async () => {
    const lock = await take();
    await expect(take()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: false,
      details: { pid: process.pid, host: hostname(), since: clock.now().toISOString() },
      message: expect.stringContaining('by this process itself: another manager, or another copy of quartermaster'),
    });
    await lock.release();
    await lock.release();
    expect(await readdir(directory)).toEqual([]);
    expect(clock.timers).toBe(0);
    await (await take()).release();
  });

  test('keeps another process out until that one releases it', async () => {
    const holder = await spawnHolder();
    expect(await tryLock(holder)).toBe('locked');
    await expect(take()).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { pid: holder.child.pid } });
    holder.child.stdin!.end();
    await once(holder.child, 'exit');
    await take();
  });

  test('is taken over from a process that was killed, even before it is reaped', async () => {
    const holder = await spawnHolder();
    expect(await tryLock(holder)).toBe('locked');
    holder.child.kill('SIGKILL');
    await once(holder.child, 'exit');
    await take();
    expect(await readdir(directory)).toEqual(['lock']);
  });

  test('is taken over by exactly one of 20 processes', async () => {
    await leave({ pid: 999_999_999 });
    const holders = await Promise.all(Array.from({ length: 20 }, spawnHolder));
    const outcomes = await Promise.all(holders.map(tryLock));
    expect(outcomes.filter((outcome) => outcome === 'locked')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(19);
  });

  test('is taken over after its pid was given to another process', async () => {
    await leave({ started: '1' });
    await take();
  });

  (SmallDisk.possible() ? test : test.skip)(
    'on a disk that is full leaves neither a file nor a handle (waits for a user who may mount one)',
    async () => {
      const disk = SmallDisk.mount(1, {});
      try {
        disk.fill();
        const full = lockDirectory(join(disk.folder, 'lock'), clock, 'main');
        await expect(full).rejects.toMatchObject({ code: 'ENOSPC' });
        expect(await readdir(disk.folder)).toEqual(['ballast']);
        const open = await Promise.all(
          (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
        );
        expect(open.filter((file) => file.startsWith(disk.folder))).toEqual([]);
      } finally {
        disk.unmount();
      }
    },
  );

  test('is taken over by exactly one of many in a process, whatever a taker left that died', async () => {
    const dead = { ...(await currentProcess()), pid: 999_999_999, since: '2024-01-01T00:00:00.000Z' };
    const claimNonce = '11111111-1111-4111-8111-111111111111';
    for (let round = 0; round < 30; round++) {
      await leave({ pid: 999_999_998 });
      if (round % 2 === 0) await writeFile(`${path}.${NONCE}`, JSON.stringify({ ...dead, nonce: claimNonce }));
      const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => lockDirectory(path, clock, 'main')));
      const locks = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      expect(locks).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'UNAVAILABLE' });
      expect(await readdir(directory)).toEqual(['lock']);
      await locks[0]!.release();
      expect(await readdir(directory)).toEqual([]);
    }
  });

  test.each([
    ['another host', { host: 'elsewhere', boot: 'another' }],
    ['another start of this host, or of another one that has its name', { boot: 'another' }],
    ['another container of this host', { pidNamespace: 'pid:[1]', pid: 999_999_999 }],
    ['a process whose pid is in use, but whose start is not known', { started: undefined }],
  ])('of %s is taken over only when its heartbeat has stopped', async (_name, holder) => {
    await leave(holder, HEARTBEAT_LIMIT - 10_000);
    await expect(take()).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: false });
    await leave(holder, HEARTBEAT_LIMIT + 1_000);
    await take();
  });

  test.each(['', '{"pid":', 'null', '{"pid":1,"host":"x","since":"","nonce":"../../x"}'])(
    'that cannot be read (%j) is respected while it is fresh',
    async (text) => {
      await leave(text, 10_000);
      await expect(take()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await leave(text, HEARTBEAT_LIMIT + 1_000);
      await take();
    },
  );

  test('beats: the time of the file moves, its text stays', async () => {
    const lock = await take();
    const text = await readFile(path, 'utf8');
    const old = new Date(Date.now() - 50_000);
    await utimes(path, old, old);
    expect(clock.timers).toBe(1);
    await clock.advance(HEARTBEAT_INTERVAL);
    await lock.beat();
    expect((await stat(path)).mtimeMs).toBeGreaterThan(old.getTime() + 40_000);
    expect(await readFile(path, 'utf8')).toBe(text);
    expect(lock.lost).toBeUndefined();
  });

  test('notices that it was lost, and does not remove the lock of the one who has it now', async () => {
    const lock = await take();
    await leave({ pid: 1 });
    await lock.beat();
    expect(lock.lost).toMatchObject({ code: 'UNAVAILABLE', retryable: false });
    await lock.release();
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ nonce: NONCE });
  });

  test('that was removed by somebody is lost too', async () => {
    const lock = await take();
    await rm(path);
    await lock.beat();
    expect(lock.lost).toMatchObject({ code: 'UNAVAILABLE' });
  });
});
