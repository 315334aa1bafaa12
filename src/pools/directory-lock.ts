/**
 * One process at a time in a directory. The lock is a file that says who holds it; its modification time is the
 * heartbeat. A lock is stale when its process is gone; where that cannot be seen (another host, another container, a
 * system without /proc whose pids are reused), when its heartbeat stopped; after a restart of the machine at once.
 *
 * Taking over a stale lock: a claim, named after the lock it replaces, is linked into place, which one process alone can
 * do; its owner then renames its own file over the lock. A claim whose owner died is claimed in the same way.
 */
import { randomUUID } from 'node:crypto';
import { constants, type FileHandle } from 'node:fs/promises';
import { copyFile, link, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { uptime } from 'node:os';
import { dirname, basename, join } from 'node:path';
import type { Clock, Timer } from '../clock.js';
import { type StorageError, UnavailableError } from '../errors.js';
import { currentProcess, isSame, liveness, type ProcessIdentity } from './process-identity.js';

export const HEARTBEAT_INTERVAL = 10_000;
export const HEARTBEAT_LIMIT = 60_000;
const LITTER_AGE = 3_600_000;
const ATTEMPTS = 100;
// What file systems without hard links answer.
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

interface Holder extends ProcessIdentity {
  readonly nonce: string;
  readonly since: string;
}

/** A lock file as it was found. `holder` is missing when the file cannot be read as one. */
interface Found {
  readonly key: string;
  readonly holder: Holder | undefined;
  readonly heartbeat: number;
}

export interface DirectoryLock {
  /** Why the lock is no longer ours; `undefined` while it is. */
  readonly lost: StorageError | undefined;
  /** Looks whether the lock is still ours, and renews the heartbeat. Runs by itself every ten seconds. */
  beat(): Promise<void>;
  /** Removes the lock, if it is still ours. Idempotent; never rejects. */
  release(): Promise<void>;
}

/**
 * Locks by the file `path`, whose directory exists.
 * @throws `UNAVAILABLE` (not retryable) when another process, or another instance in this one, holds it.
 */
export async function lockDirectory(path: string, clock: Clock, component: string): Promise<DirectoryLock> {
  const self = await currentProcess();
  const content: Holder = { ...self, nonce: randomUUID(), since: clock.now().toISOString() };
  const mine = new OwnFile(path, JSON.stringify(content), content.nonce);
  try {
    await mine.create();
    for (let attempt = 0; attempt < ATTEMPTS; attempt++)
      if ((await mine.linkTo(path)) || (await takeOver(path, mine, self, component))) {
        await mine.settle(path);
        const lock = new HeldLock(path, mine, clock, component);
        lock.schedule();
        await sweepLitter(path, await mine.modified());
        return lock;
      }
    throw new UnavailableError(`The lock ${path} changes hands all the time`, { component });
  } catch (error) {
    await mine.discard();
    throw error;
  }
}

/** @returns whether the lock is ours; false: it changed meanwhile, look again. */
async function takeOver(path: string, mine: OwnFile, self: ProcessIdentity, component: string): Promise<boolean> {
  const root = await find(path);
  if (root === undefined) return false;
  const claims: string[] = [];
  for (let last = root; ;) {
    await refuseIfHeld(path, last, mine, self, component);
    const claim = `${path}.${last.key}`;
    claims.push(claim);
    if (await mine.linkTo(claim)) break;
    const next = await find(claim);
    if (next === undefined) return false;
    last = next;
  }
  // Who was faster has replaced the lock before it removed its claim; then ours is worth nothing.
  if ((await find(path))?.key !== root.key) {
    await remove(claims.at(-1)!);
    return false;
  }
  await mine.renameTo(path);
  for (const claim of claims) await remove(claim);
  return true;
}

async function refuseIfHeld(
  path: string,
  found: Found,
  mine: OwnFile,
  self: ProcessIdentity,
  component: string,
): Promise<void> {
  const { holder } = found;
  const state = holder === undefined ? 'unknown' : await liveness(holder, self);
  if (state === 'dead') return;
  // Both times were set by the file system: the clocks of two hosts are not compared.
  if (state === 'unknown' && (await mine.modified()) - found.heartbeat > limitOf(holder, self)) return;
  throw new UnavailableError(
    `The directory is in use by ${nameOf(holder, self)} (${path}): one process at a time has it; for several, name a database of a server`,
    {
      component,
      retryable: false,
      details:
        holder === undefined ? { path } : { path, pid: holder.pid, host: holder.host, since: holder.since, state },
    },
  );
}

function nameOf(holder: Holder | undefined, self: ProcessIdentity): string {
  if (holder === undefined) return 'an unreadable lock';
  if (isSame(holder, self)) return 'this process itself: another manager, or another copy of quartermaster';
  return `process ${holder.pid} on ${holder.host}, since ${holder.since}`;
}

/**
 * How old a heartbeat may be. One from before this machine was started is nobody's; but another machine may have its name,
 * and have missed a beat or two.
 */
function limitOf(holder: Holder | undefined, self: ProcessIdentity): number {
  if (holder === undefined || holder.host !== self.host || holder.boot === self.boot) return HEARTBEAT_LIMIT;
  return Math.min(HEARTBEAT_LIMIT, Math.max(3 * HEARTBEAT_INTERVAL, uptime() * 1_000));
}

class HeldLock implements DirectoryLock {
  lost: StorageError | undefined;
  private timer: Timer | undefined;
  private released = false;

  constructor(
    private readonly path: string,
    private readonly mine: OwnFile,
    private readonly clock: Clock,
    private readonly component: string,
  ) {}

  schedule(): void {
    if (this.released || this.lost !== undefined) return;
    this.timer = this.clock.after(HEARTBEAT_INTERVAL, () => void this.beat().finally(() => this.schedule()), {
      background: true,
    });
  }

  async beat(): Promise<void> {
    if (this.released || this.lost !== undefined) return;
    try {
      const text = await readFile(this.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (this.released) return;
      if (text === this.mine.text) await this.mine.write();
      else this.lost = this.lostError();
    } catch {
      // A file system that is away for a moment does not give the lock to anybody else; the next beat tries again.
    }
  }

  async release(): Promise<void> {
    if (this.released) return;
    this.released = true;
    this.timer?.cancel();
    const text = await readFile(this.path, 'utf8').catch(() => undefined);
    if (text === this.mine.text) await remove(this.path);
    await this.mine.discard();
  }

  private lostError(): StorageError {
    return new UnavailableError(`The lock ${this.path} was taken by another process`, {
      component: this.component,
      retryable: false,
    });
  }
}

/** The file that says who we are: written whole under a name of its own, then linked or renamed to the lock's. */
class OwnFile {
  private handle: FileHandle | undefined;
  private readonly temporary: string;

  constructor(
    path: string,
    readonly text: string,
    nonce: string,
  ) {
    this.temporary = `${path}.${nonce}.new`;
  }

  async create(): Promise<void> {
    this.handle = await open(this.temporary, 'wx');
    await this.write();
  }

  /** Always the same bytes: a reader never sees another text, and the modification time moves. */
  async write(): Promise<void> {
    await this.handle?.write(this.text, 0, 'utf8');
  }

  async modified(): Promise<number> {
    await this.write();
    return (await this.handle!.stat()).mtimeMs;
  }

  /** @returns false when there is a file of that name. */
  async linkTo(path: string): Promise<boolean> {
    try {
      await link(this.temporary, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      if (code !== undefined && NO_LINKS.has(code)) return this.copyTo(path);
      throw error;
    }
  }

  /** From now on the heartbeat is that of the file at `path`. */
  async settle(path: string): Promise<void> {
    await this.discard();
    this.handle = await open(path, 'r+');
  }

  private async copyTo(path: string): Promise<boolean> {
    try {
      await copyFile(this.temporary, path, constants.COPYFILE_EXCL);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  renameTo(path: string): Promise<void> {
    return rename(this.temporary, path);
  }

  async discard(): Promise<void> {
    await remove(this.temporary);
    const { handle } = this;
    this.handle = undefined;
    await handle?.close().catch(() => undefined);
  }
}

async function find(path: string): Promise<Found | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    const { mtimeMs, size } = await stat(path);
    const holder = parseHolder(text);
    return { key: holder?.nonce ?? `unreadable-${mtimeMs}-${size}`, holder, heartbeat: mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text) as Partial<Holder> | null;
    return typeof value?.pid === 'number' &&
      typeof value.host === 'string' &&
      typeof value.since === 'string' &&
      /^[0-9a-f-]{36}$/.test(value.nonce ?? '')
      ? (value as Holder)
      : undefined;
  } catch {
    return undefined;
  }
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch(() => undefined);
}

/** Files that a process left which was killed between two steps. */
async function sweepLitter(path: string, now: number): Promise<void> {
  const directory = dirname(path);
  for (const name of await readdir(directory).catch(() => [])) {
    if (!name.startsWith(`${basename(path)}.`)) continue;
    const file = join(directory, name);
    const age = await stat(file).then(
      ({ mtimeMs }) => now - mtimeMs,
      () => 0,
    );
    if (age > LITTER_AGE) await remove(file);
  }
}
