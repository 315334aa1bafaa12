/** Jobs that tests begin with. */
import type { JobChange, NewJob, StorageManager } from '../../src/index.js';

export const PERSONAS = { personas: ['ann'] };

let made = 0;

/** A job of a name that no other has. */
export function newJob(storage: Pick<StorageManager, 'jobs'>, job: Partial<NewJob> = {}): Promise<JobChange> {
  return storage.jobs.create({ name: `job ${++made}`, metadata: PERSONAS, ...job });
}
