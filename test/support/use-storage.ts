/** Managers over a target, for the tests of one block. */
import { afterAll, beforeAll } from '@jest/globals';
import { openStorage } from '../../src/index.js';
import type { StorageManager } from '../../src/manager.js';
import type { StorageTarget } from './storage-targets.js';

type Opened = Pick<StorageTarget, 'prepare'> & Partial<Pick<StorageTarget, 'patient'>>;

/** Opens the target before the tests and takes it away after them. */
export function useStorage(target: Opened, settings: object = {}): () => StorageManager {
  const managers = useManagers(target, 1, settings);
  return () => managers[0]!;
}

/** The same of two managers; what only one process can open is open once, so there both are the same. */
export function useTwoStorages(
  target: Opened & Pick<StorageTarget, 'server'>,
  settings: object = {},
): () => readonly [StorageManager, StorageManager] {
  const managers = useManagers(target, target.server ? 2 : 1, settings);
  return () => [managers[0]!, managers.at(-1)!];
}

function useManagers(
  { prepare, patient = {} }: Opened,
  count: number,
  { databases, ...settings }: { readonly databases?: object },
): readonly StorageManager[] {
  const managers: StorageManager[] = [];
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    for (let i = 0; i < count; i++)
      managers.push(
        await openStorage(
          { databases: { main: { url: prepared.url, ...patient }, ...databases }, ...settings },
          { environment: {} },
        ),
      );
  });
  afterAll(async () => {
    for (const manager of managers) await manager.close();
    await drop();
  });
  return managers;
}
