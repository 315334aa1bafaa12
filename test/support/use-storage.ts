/** Managers over a target, for the tests of one block. */
import { afterAll, beforeAll } from '@jest/globals';
import { openStorage } from '../../src/index.js';
import type { StorageManager } from '../../src/manager.js';
import type { StorageTarget } from './storage-targets.js';

/** On a busy machine a queue for the connections of a server is no fault. */
export function patient(url: string, server: boolean): string | { readonly url: string; readonly pool: object } {
  return server ? { url, pool: { acquireTimeout: 60_000 } } : url;
}

/** Opens the target before the tests and takes it away after them. */
export function useStorage(
  target: Pick<StorageTarget, 'prepare' | 'server'>,
  settings: object = {},
): () => StorageManager {
  const managers = useManagers(target, 1, settings);
  return () => managers[0]!;
}

/** The same of two managers; what only one process can open is open once, so there both are the same. */
export function useTwoStorages(
  target: Pick<StorageTarget, 'prepare' | 'server'>,
  settings: object = {},
): () => readonly [StorageManager, StorageManager] {
  const managers = useManagers(target, target.server ? 2 : 1, settings);
  return () => [managers[0]!, managers.at(-1)!];
}

function useManagers(
  { prepare, server }: Pick<StorageTarget, 'prepare' | 'server'>,
  count: number,
  { databases, ...settings }: { readonly databases?: object },
): readonly StorageManager[] {
  const managers: StorageManager[] = [];
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    const main = patient(prepared.url, server);
    for (let i = 0; i < count; i++)
      managers.push(await openStorage({ databases: { main, ...databases }, ...settings }, { environment: {} }));
  });
  afterAll(async () => {
    for (const manager of managers) await manager.close();
    await drop();
  });
  return managers;
}
