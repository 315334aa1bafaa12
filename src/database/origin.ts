/** Who said a database's URL: a variable that is set for another program is taken too, and must be found when it fails. */
import type { Component } from '../component.js';
import { foreignErrorName, isStorageError, reworded, UnavailableError, type StorageError } from '../errors.js';

/** `pool`, whose failed opening names the key and the source of its URL, never the URL. */
export function namingOrigin(pool: Component, key: string, source: string): Component {
  return {
    name: pool.name,
    async open(context) {
      try {
        await pool.open(context);
      } catch (error) {
        throw isStorageError(error, 'CLOSED') ? error : withOrigin(error, pool.name, `${key} is from ${source}`);
      }
    },
    check: (signal) => pool.check(signal),
    close: (deadline) => pool.close(deadline),
  };
}

function withOrigin(error: unknown, component: string, origin: string): StorageError {
  if (!isStorageError(error))
    return new UnavailableError(`${component} did not open (${foreignErrorName(error)}; ${origin})`, {
      component,
      operation: 'open',
      cause: error,
    });
  return reworded(error, `${error.message} (${origin})`, { component: error.component ?? component });
}
