/** The events of jobs and runs by their types. A job's are of the aggregate of its id, a run's of the run's id. */
import { EVENTS_PER_WRITE, type StoreEvent } from '../events.js';
import type { JobStatus, RunStatus } from './records.js';

interface RunEvent {
  readonly jobId: string;
  readonly runId: string;
  readonly runNumber: number;
  readonly attempt: number;
}

/** There when the run's start is told together with it: of one record two events are read. */
interface WithStart {
  readonly workerId?: string;
  readonly startedAt?: string;
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
  'job.run_started': RunEvent & WithStart;
  'job.run_succeeded': RunEvent & WithStart;
  'job.run_failed': RunEvent & WithStart & { readonly error: string };
  'job.run_retrying': RunEvent & WithStart & { readonly error: string; readonly dueAt: string };
  'job.run_lease_expired': RunEvent & WithStart;
  'job.run_released': RunEvent & WithStart;
  'job.run_cancel_requested': RunEvent & WithStart;
  'job.run_cancelled': RunEvent & WithStart;
}

const EVENTS: { readonly [Type in keyof JobEvents]: true } = {
  'job.created': true,
  'job.updated': true,
  'job.status_changed': true,
  'job.schedule_changed': true,
  'job.assignment': true,
  'job.task_linked': true,
  'job.task_unlinked': true,
  'job.deleted': true,
  'job.run': true,
  'job.run_started': true,
  'job.run_succeeded': true,
  'job.run_failed': true,
  'job.run_retrying': true,
  'job.run_lease_expired': true,
  'job.run_released': true,
  'job.run_cancel_requested': true,
  'job.run_cancelled': true,
};
/** The types that the store writes itself, without its prefix. */
export const OWN_EVENTS = Object.keys(EVENTS).map((type) => type.slice('job.'.length));

const STARTED = 'job.run_started';

/** The event that a record keeps, after the start of its run when that was told with it. */
export function withStart(event: StoreEvent): StoreEvent[] {
  const { jobId, runId, runNumber, attempt, workerId, startedAt } = event.payload;
  // Those of a job are its host's own too, with any payload.
  if (startedAt === undefined || runId !== event.aggregateId || event.type === STARTED) return [event];
  // That of the run as it was claimed: the version before the one that the record tells of.
  const seq = (Math.floor(event.seq / EVENTS_PER_WRITE) - 1) * EVENTS_PER_WRITE;
  const { aggregateId, tenantId, createdAt } = event;
  const payload = { jobId, runId, runNumber, attempt, workerId, startedAt } as StoreEvent['payload'];
  return [{ id: `${aggregateId}:${seq}`, aggregateId, seq, type: STARTED, payload, tenantId, createdAt }, event];
}
