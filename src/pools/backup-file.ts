/** A copy of an open database as a file that is whole or is not there. */
import { randomUUID } from 'node:crypto';
import { lstat, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConflictError, invalid, type StorageError } from '../errors.js';

/**
 * @param write makes the file of this name, and beside it none but its `-journal`
 * @param mapped what a failure is told as
 * @returns the file's bytes. @throws `ALREADY_EXISTS` when it is there, `VALIDATION` when its directory is not.
 */
export async function writeBackup(
  path: string,
  component: string,
  write: (file: string) => Promise<void>,
  mapped: (error: unknown) => StorageError,
): Promise<number> {
  const file = resolve(path);
  const options = { component, operation: 'backup' };
  if (await lstat(file).then(Boolean, () => false))
    throw new ConflictError('ALREADY_EXISTS', 'The file of the backup is there already', options);
  if (
    !(await stat(dirname(file)).then(
      (found) => found.isDirectory(),
      () => false,
    ))
  )
    throw invalid('file', path, 'a path in a directory that is there', options);
  // Whoever finds the file finds all of it.
  const partial = `${file}.${randomUUID()}.partial`;
  try {
    await write(partial);
    await rename(partial, file);
    return (await stat(file)).size;
  } catch (error) {
    await Promise.all([partial, `${partial}-journal`].map((left) => rm(left, { force: true })));
    throw mapped(error);
  }
}
