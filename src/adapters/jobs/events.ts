/** The events of jobs and runs by their types. A job's are of the aggregate of its id, a run's of the run's id. */
import type { JobStatus, RunStatus } from './records.js';

interface RunEvent {
  readonly jobId: string;
  readonly runId: string;
  readonly runNumber: number;
  readonly attempt: number;
}

/** Dates are ISO text. */
export interface JobEvents {
  'job.created': { readonly jobId: string; readonly tenantId: string; readonly status: JobStatus };
  'job.updated': {
    readonly jobId: string;
    readonly tenantId: string;
    readonly changes: Readonly<Record<string, unknown>>;
  };
  'job.status_changed': {
    readonly jobId: string;
    readonly tenantId: string;
    readonly from: JobStatus;
    readonly to: JobStatus;
  };
  'job.schedule_changed': { readonly action: 'set' | 'paused' | 'resumed'; readonly nextRunAt?: string };
  'job.assignment': {
    readonly assigneeId: string;
    readonly role: string;
    readonly from: string | null;
    readonly to: string;
  };
  'job.task_linked': { readonly taskId: string; readonly relationshipType: string };
  'job.task_unlinked': { readonly taskId: string; readonly relationshipType: string };
  'job.deleted': { readonly jobId: string; readonly tenantId: string };
  'job.run': RunEvent & { readonly status: RunStatus };
  'job.run_started': RunEvent & { readonly workerId?: string; readonly startedAt?: string };
  'job.run_succeeded': RunEvent;
  'job.run_failed': RunEvent & { readonly error: string };
  'job.run_retrying': RunEvent & { readonly error: string; readonly dueAt: string };
  'job.run_lease_expired': RunEvent & { readonly workerId?: string };
  'job.run_released': RunEvent;
  'job.run_cancel_requested': RunEvent;
  'job.run_cancelled': RunEvent;
}
