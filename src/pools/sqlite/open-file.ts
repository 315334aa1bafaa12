/** What becomes of the file under an open database, which SQLite does not look at: it goes on writing one that is gone. */
import { statSync, type BigIntStats } from 'node:fs';

/** Synchronous, as SQLite's own reading is. */
const stat = (path: string): BigIntStats | undefined => statSync(path, { bigint: true, throwIfNoEntry: false });
const identity = (file: BigIntStats | undefined): string | undefined => file && `${file.dev}:${file.ino}`;

export class OpenFile {
  private readonly opened: string | undefined;

  constructor(private readonly path: string) {
    this.opened = identity(stat(path));
  }

  /**
   * What is wrong with it; `undefined`: nothing.
   * @param bytes of the database, as a read transaction that is open sees it: what is not in the file is in its log.
   */
  fault(bytes: number): string | undefined {
    const found = stat(this.path);
    // Windows keeps a file that is open where it is.
    if (process.platform !== 'win32' && identity(found) !== this.opened) {
      const what = found === undefined ? 'was removed or moved' : 'was replaced by another';
      return `The database file ${what} while it was open: what is written now is lost`;
    }
    const there = (found?.size ?? 0n) + (stat(`${this.path}-wal`)?.size ?? 0n);
    return there < bytes ? 'The database file is damaged: it was cut' : undefined;
  }
}
