/** Below the surface of an open manager: its database, for what no host can reach. */
import type { Database } from '../../src/database.js';
import type { StorageManager } from '../../src/manager.js';
import type { OpenParts } from '../../src/opening.js';

export function databaseOf(storage: StorageManager, name = 'main'): Database {
  const { databases } = (storage as unknown as { parts(): OpenParts }).parts();
  return databases.get(name)!;
}
