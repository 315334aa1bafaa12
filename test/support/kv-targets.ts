/** The key-value store on every database, with quotas and without: what it does is the same. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';
import { storageTargets, type StorageTarget } from './storage-targets.js';

export type KvSettings = Readonly<Record<string, number>>;

export interface KvFixture {
  readonly target: StorageTarget;
  readonly counted: boolean;
  readonly storage: () => StorageManager;
  /** Another manager on the same database. */
  readonly open: (settings: KvSettings) => Promise<StorageManager>;
}

const MODES: Readonly<Record<string, KvSettings>> = {
  'with quotas': { tenantQuotaBytes: 1_000_000_000 },
  'without quotas': { namespaceQuotaBytes: 0 },
};

/** Runs `tests` on each; quotas only where the database can keep them. */
export function describeKv(suite: string, tests: (fixture: KvFixture) => void, modes = Object.keys(MODES)): void {
  for (const target of storageTargets(suite))
    for (const mode of modes) {
      const counted = mode === 'with quotas';
      if (counted && !target.transactions) continue;
      describe(`${suite} on ${target.name}, ${mode}`, () => {
        let storage: StorageManager;
        let prepared: Awaited<ReturnType<StorageTarget['prepare']>>;
        const open = (kv: KvSettings): Promise<StorageManager> =>
          openStorage({ databases: { main: { url: prepared.url, ...target.patient } }, kv }, { environment: {} });
        beforeAll(async () => {
          prepared = await target.prepare();
          storage = await open(MODES[mode]!);
        });
        afterAll(async () => {
          await storage.close();
          await prepared.drop();
        });
        tests({ target, counted, storage: () => storage, open });
        if (counted)
          test('has counted right what there is', async () => {
            for (const namespace of await storage.kv.listNamespaces()) {
              const { former, bytes } = await storage.kv.recountUsage(namespace);
              expect({ namespace, former }).toEqual({ namespace, former: bytes });
            }
            const { former, bytes } = await storage.kv.recountUsage();
            // Absent where no test has written for this tenant.
            expect([null, bytes]).toContain(former);
          });
      });
    }
}
