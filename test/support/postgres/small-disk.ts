/** A file system of a few megabytes, to be filled up. */
import { execFileSync } from 'node:child_process';
import { chownSync, closeSync, mkdtempSync, openSync, rmSync, symlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

const PORTION = Buffer.alloc(64 * 1024);

export class SmallDisk {
  private constructor(readonly folder: string) {}

  /** Whether this user may mount one: it takes root with CAP_SYS_ADMIN, and Linux. */
  static possible(): boolean {
    try {
      SmallDisk.mount(1, {}).unmount();
      return true;
    } catch {
      return false;
    }
  }

  static mount(megabytes: number, owner: { uid?: number; gid?: number }): SmallDisk {
    const folder = mkdtempSync(join(tmpdir(), 'small-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder], { stdio: 'ignore' });
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
    if (owner.uid !== undefined) chownSync(folder, owner.uid, owner.gid!);
    return new SmallDisk(folder);
  }

  /** Takes all the room that is left. */
  fill(): void {
    const file = openSync(this.ballast, 'a');
    try {
      for (;;) writeSync(file, PORTION);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(file);
    }
  }

  /** Gives back what `fill` took. */
  makeRoom(): void {
    rmSync(this.ballast, { force: true });
  }

  /** Puts a folder here; a link stays in its place. */
  move(folder: string): void {
    const place = join(this.folder, basename(folder));
    execFileSync('cp', ['-a', folder, place]);
    rmSync(folder, { recursive: true });
    symlinkSync(place, folder);
  }

  unmount(): void {
    execFileSync('umount', ['--lazy', this.folder]);
    rmSync(this.folder, { recursive: true });
  }

  private get ballast(): string {
    return join(this.folder, 'ballast');
  }
}
