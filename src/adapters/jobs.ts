/** `storage.jobs`: named jobs, their schedules, and runs that workers claim under leases. */
import { invalid } from '../errors.js';
import { readWork } from './jobs/arguments.js';
import { claimedRun } from './jobs/claim-operations.js';
import { MaintenanceOperations } from './jobs/maintenance-operations.js';
import { makeWorkerId, type RunHandler, type WorkOptions } from './jobs/handler.js';
import type { WorkerStore } from './jobs/held-runs.js';
import { JobWorker } from './jobs/worker.js';

export class JobStore extends MaintenanceOperations {
  /**
   * Begins to work: claims runs of every tenant as they fall due and gives them to the handler, until it is stopped or the
   * manager closes. A run whose handler ends is completed, one whose handler throws has failed.
   * Only the manager's own store has it. @throws `VALIDATION`, `UNSUPPORTED`
   */
  work(handler: RunHandler, options: WorkOptions = {}): JobWorker {
    if (typeof handler !== 'function') throw invalid('handler', handler, 'a function');
    const { workerId = makeWorkerId(), concurrency, leaseSeconds, poll } = readWork(options, 'options');
    this.requireAll('work');
    this.require('claims', 'work');
    const of = (tenant: string): JobStore => this.at(this.host.of(tenant));
    const store: WorkerStore = {
      claim: (limit, context) => this.claimLookingAfter({ workerId, limit }, leaseSeconds, context, false),
      end: (tenant, ends) => of(tenant).endHeld(ends),
      extend: (tenant, runs) => of(tenant).extendHeld(runs, leaseSeconds),
      checkpoint: async (tenant, id, token, checkpoint) => {
        await of(tenant).saveCheckpoint(id, token, checkpoint);
      },
      operate: (work) => this.run('work', { timeout: leaseSeconds * 1_000 }, work),
      claimed: claimedRun,
    };
    return new JobWorker(this.host, store, handler, { workerId, concurrency, leaseSeconds, poll });
  }
}
