/** Who said a URL: a variable that is set for another program is taken too, and must be found when it fails. */
import type { Component } from '../component.js';
import { foreignErrorName, isStorageError, reworded, UnavailableError, type StorageError } from '../errors.js';

/** The component, whose failed opening names the key and the source of its URL, never the URL. */
export function namingOrigin(component: Component, key: string, source: string): Component {
  const { name } = component;
  return {
    name,
    async open(context) {
      try {
        await component.open(context);
      } catch (error) {
        throw isStorageError(error, 'CLOSED') ? error : withOrigin(error, name, `${key} is from ${source}`);
      }
    },
    check: (signal) => component.check(signal),
    close: (deadline) => component.close(deadline),
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
