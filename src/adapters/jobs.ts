/** `storage.jobs`: named jobs, their schedules, and runs that workers claim under leases. */
import { readWork } from './jobs/arguments.js';
import { claimedRun } from './jobs/claim-operations.js';
import { MaintenanceOperations } from './jobs/maintenance-operations.js';
import { makeWorkerId, readHandlers, type RunHandler, type RunHandlers, type WorkOptions } from './jobs/handler.js';
import type { WorkerStore } from './jobs/held-runs.js';
import { JobWorker } from './jobs/worker.js';

export class JobStore extends MaintenanceOperations {
  /**
   * Begins to work: claims runs of every tenant as they fall due and gives them to the handler, until it is stopped or the
   * manager closes. A run whose handler ends is completed, one whose handler throws has failed.
   * @param handler of the runs of all jobs; or one of each job by its name, and then other jobs' runs are left to others. With
   * `Payloads` each of those knows its own; nothing checks at run time that it is so.
   * Only the manager's own store has it. @throws `VALIDATION`, `UNSUPPORTED`
   */
  work(handler: RunHandler | RunHandlers, options?: WorkOptions): JobWorker;
  work<Payloads>(handlers: RunHandlers<Payloads>, options?: WorkOptions): JobWorker;
  work(handler: RunHandler | RunHandlers, options: WorkOptions = {}): JobWorker {
    const { jobs, handlerOf } = readHandlers(handler);
    const { workerId = makeWorkerId(), ...settings } = readWork(options, 'options');
    const { leaseSeconds } = settings;
    this.requireAll('work');
    this.require('claims', 'work');
    const of = (tenant: string): JobStore => this.at(this.host.of(tenant));
    const all = this.ofAll();
    const store: WorkerStore = {
      claim: (limit, context) => this.claimLookingAfter({ workerId, limit, jobs }, leaseSeconds, context, false),
      end: (tenant, ends) => of(tenant).endHeld(ends),
      extend: (tenant, runs) => of(tenant).extendHeld(runs, leaseSeconds),
      checkpoint: async (tenant, id, token, checkpoint) => of(tenant).writeCheckpoint(id, token, checkpoint, {}),
      // What it takes has most of its lease before it.
      operate: (work, signal) => all.run('work', { timeout: (leaseSeconds * 1_000) / 3, signal }, work),
      claimed: claimedRun,
    };
    return new JobWorker(this.host, store, (run, context) => handlerOf(run.jobName)(run, context), {
      workerId,
      ...settings,
    });
  }
}
