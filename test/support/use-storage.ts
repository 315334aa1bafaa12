/** A manager over a target, for the tests of one block. */
import { afterAll, beforeAll } from '@jest/globals';
import { openStorage } from '../../src/index.js';
import type { StorageManager } from '../../src/manager.js';
import type { StorageTarget } from './storage-targets.js';

/** Opens the target before the tests and takes it away after them. */
export function useStorage({ prepare }: Pick<StorageTarget, 'prepare'>, settings: object = {}): () => StorageManager {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    storage = await openStorage({ databases: { main: prepared.url }, ...settings }, { environment: {} });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });
  return () => storage;
}
