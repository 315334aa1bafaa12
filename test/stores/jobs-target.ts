/** A database with the job store on it, for one test file, and jobs that its tests begin with. */
import { afterAll, beforeAll } from '@jest/globals';
import { openStorage, type JobChange, type NewJob, type StorageManager } from '../../src/index.js';
import type { StorageTarget } from '../support/storage-targets.js';

export const PERSONAS = { personas: ['ann'] };

/** Opens the target before the tests and takes it away after them. */
export function useStorage(target: StorageTarget, settings: object = {}): () => StorageManager {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const prepared = await target.prepare();
    drop = prepared.drop;
    storage = await openStorage({ databases: { main: prepared.url }, ...settings }, { environment: {} });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });
  return () => storage;
}

let made = 0;

/** A job of a name that no other has. */
export function newJob(storage: Pick<StorageManager, 'jobs'>, job: Partial<NewJob> = {}): Promise<JobChange> {
  return storage.jobs.create({ name: `job ${++made}`, metadata: PERSONAS, ...job });
}
