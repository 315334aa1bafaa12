/** A backup, page by page. */
import { writeBackup } from '../backup-file.js';
import type { EngineDatabase } from './engine.js';
import { mapError } from './errors.js';

/**
 * @param engine without a transaction that writes: the libraries take that for an empty database.
 * @param between called between two parts of the copy; ends it by throwing.
 * @returns the file's bytes. @throws as `writeBackup`; what `between` throws.
 */
export function backUp(engine: EngineDatabase, path: string, component: string, between: () => void): Promise<number> {
  let reason: unknown;
  const copy = (file: string): Promise<void> =>
    engine.backup(file, () => {
      try {
        between();
      } catch (error) {
        // Some libraries make an error of their own of it.
        throw (reason = error);
      }
    });
  return writeBackup(path, component, copy, (error) => mapError(reason ?? error, component, 'backup'));
}
