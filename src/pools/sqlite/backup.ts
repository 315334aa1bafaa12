/** A copy of an open database as a file that is whole or is not there. */
import { randomUUID } from 'node:crypto';
import { lstat, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConflictError, invalid } from '../../errors.js';
import type { EngineDatabase } from './engine.js';
import { mapError } from './errors.js';

/**
 * @param between called between two parts of the copy; ends it by throwing.
 * @returns the file's bytes. @throws `ALREADY_EXISTS` when it is there, `VALIDATION` when its directory is not.
 */
export async function backUp(
  engine: EngineDatabase,
  path: string,
  component: string,
  between: () => void,
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
    await engine.backup(partial, between);
    await rename(partial, file);
    return (await stat(file)).size;
  } catch (error) {
    await Promise.all([partial, `${partial}-journal`].map((left) => rm(left, { force: true })));
    throw mapError(error, component, 'backup');
  }
}
