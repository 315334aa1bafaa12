/** What the job store keeps: jobs, their schedules, their runs, and what hangs on them. */
import { defined } from '../defined.js';
import type { JsonObject, JsonValue } from '../../backends/backend.js';
import { defineOwnCollection } from '../../collection/definition.js';
import type { Entity } from '../store.js';
import { defineStore } from '../store-definition.js';

export const JOB_STATUSES = ['draft', 'scheduled', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];
export const RUN_STATUSES = ['scheduled', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

/** The n-th failure is tried again after `backoffSeconds * multiplier^(n-1)`, and up to `jitterSeconds` more. */
export interface RetryPolicy {
  /** How often a run is begun at most; default 3. */
  readonly maxAttempts: number;
  /** Default 30. */
  readonly backoffSeconds: number;
  /** Default 5. */
  readonly jitterSeconds: number;
  /** Default 2. */
  readonly multiplier: number;
}

/** What a run takes over from its job when it is made. */
interface RunLimits {
  /** How long one attempt may take; a worker then aborts it, and it counts as failed. */
  readonly timeoutSeconds?: number;
  readonly retry?: RetryPolicy;
}

export interface JobValue extends RunLimits {
  readonly name: string;
  readonly description?: string;
  readonly status: JobStatus;
  readonly ownerId?: string;
  readonly conversationId?: string;
  readonly metadata: JsonObject;
  /** How many of its runs may be held at once. Absent: any number. */
  readonly maxConcurrent?: number;
  /** The rerun whose end is the job's. */
  readonly currentRunId?: string;
}

/** The last step that a run has done, from which another attempt may go on. */
export interface Checkpoint {
  readonly stepIndex: number;
  readonly stepName: string;
  readonly state: JsonValue;
}

export interface RunValue extends RunLimits {
  readonly jobId: string;
  /** As it was when the run was made. */
  readonly jobName: string;
  /** From 1, without doubles; a number that was taken for a run that was not made is left out. */
  readonly runNumber: number;
  readonly status: RunStatus;
  readonly trigger: 'manual' | 'schedule' | 'rerun';
  readonly metadata: JsonObject;
  readonly payload?: JsonValue;
  /** Greater ones are claimed first. */
  readonly priority: number;
  /** The occurrence of its schedule. */
  readonly scheduledFor?: Date;
  /**
   * Where it waits: `open`; `gated`, to be looked at by its limits; `limit:` and the job's id, or `tenant:` and the tenant, for
   * a place under that limit; `held` by a worker. Absent: nobody is to claim it.
   */
  readonly queue?: 'open' | 'gated' | 'held' | `limit:${string}`;
  /** From when it may be claimed; while it is held: when the lease ends. */
  readonly dueAt?: Date;
  /** From when it could be claimed the last time. */
  readonly availableAt?: Date;
  /** How many runs of the job may be held at once, this one included. */
  readonly limit?: number;
  /** It has one of the places of its job's limit. */
  readonly jobSlot?: boolean;
  /** It has one of the places of its tenant's limit. */
  readonly tenantSlot?: boolean;
  /** The fencing token of the last claim: it only grows. */
  readonly token: number;
  /** How often it was begun. */
  readonly attempt: number;
  readonly workerId?: string;
  /** When the last attempt began. */
  readonly startedAt?: Date;
  readonly finishedAt?: Date;
  /** Its start is told by the next write: a claim is one statement over every tenant. */
  readonly untold?: boolean;
  readonly checkpoint?: Checkpoint;
  readonly result?: JsonValue;
  /** Of the last attempt that failed; none of a run that has succeeded. */
  readonly error?: string;
  /** The token under which its holder has told the last failure. */
  readonly failedToken?: number;
  readonly cancelRequestedAt?: Date;
  /** It failed, and nobody tries it again. */
  readonly dead?: boolean;
  /** Milliseconds from `availableAt` to `startedAt`. */
  readonly waitedMs?: number;
  /** Its end is the job's end. */
  readonly drivesJob?: boolean;
}

export const SCHEDULE_TYPES = ['cron', 'interval', 'once'] as const;
export const MISFIRES = ['runOnce', 'skip', 'runAll'] as const;
export const OVERLAPS = ['skip', 'queue', 'allow'] as const;

export interface ScheduleValue {
  readonly scheduleType: (typeof SCHEDULE_TYPES)[number];
  readonly expression: string;
  readonly timezone: string;
  /** Absent: none to come, or paused. */
  readonly nextRunAt?: Date;
  readonly startAt?: Date;
  readonly endAt?: Date;
  /** What an interval counts from. */
  readonly anchorAt: Date;
  readonly paused: boolean;
  readonly misfire: (typeof MISFIRES)[number];
  readonly misfireGraceSeconds: number;
  readonly overlap: (typeof OVERLAPS)[number];
  readonly payload?: JsonValue;
  readonly priority: number;
  readonly metadata: JsonObject;
  readonly lastRunAt?: Date;
}

export interface LinkValue {
  readonly jobId: string;
  readonly taskId: string;
  readonly relationshipType: string;
  readonly metadata: JsonObject;
}

export const ASSIGNMENT_STATUSES = ['pending', 'accepted', 'declined', 'completed'] as const;

export interface AssignmentValue {
  readonly jobId: string;
  readonly assigneeId: string;
  readonly role: string;
  readonly status: (typeof ASSIGNMENT_STATUSES)[number];
  readonly metadata: JsonObject;
}

export type Job = Entity<JobValue>;
export type JobRun = Entity<RunValue>;
/** Its id is the job's. */
export type JobSchedule = Entity<ScheduleValue>;
export type JobLink = Entity<LinkValue>;
export type JobAssignment = Entity<AssignmentValue>;

const ID = { type: 'string', maxBytes: 36 } as const;
const WORD = { type: 'string', maxBytes: 16 } as const;

export const JOBS = defineOwnCollection<JobValue>({
  name: 'qm_jobs',
  fields: { name: { type: 'string', maxBytes: 1_020 }, status: WORD, ownerId: ID, conversationId: ID },
  indexes: [
    { keys: ['createdAt'] },
    { keys: ['status', 'createdAt'] },
    { keys: ['ownerId', 'status', 'createdAt'] },
    { keys: ['conversationId'] },
  ],
  unique: [{ name: 'name', fields: ['name'] }],
});

export interface NumbersValue {
  /** The last number that a run was given. */
  readonly last: number;
  readonly made: number;
  /** The job is cancelled: no more runs. */
  readonly closed?: boolean;
}

/** Of each job, what making a run changes, so that the job's own version stays: the numbers, and that runs may be made. */
export const NUMBERS = defineOwnCollection<NumbersValue>({ name: 'qm_job_numbers', id: 'given' });

export const RUNS = defineOwnCollection<RunValue>({
  name: 'qm_job_runs',
  fields: {
    jobId: ID,
    status: WORD,
    // The longest is that of a tenant.
    queue: { type: 'string', maxBytes: 300 },
    runNumber: 'number',
    priority: 'number',
    waitedMs: 'number',
    dead: 'boolean',
    dueAt: 'date',
    availableAt: 'date',
    scheduledFor: 'date',
    startedAt: 'date',
    finishedAt: 'date',
    cancelRequestedAt: 'date',
  },
  indexes: [
    { keys: ['jobId', ['runNumber', 'desc']] },
    { keys: ['jobId', 'status'] },
    { keys: ['status', 'finishedAt'] },
    { keys: ['queue', ['priority', 'desc'], 'dueAt'], scope: 'all' },
    { keys: ['queue', 'dueAt'], scope: 'all' },
  ],
});

export const SCHEDULES = defineOwnCollection<ScheduleValue>({
  name: 'qm_job_schedules',
  id: 'given',
  fields: { nextRunAt: 'date', startAt: 'date', endAt: 'date', anchorAt: 'date', lastRunAt: 'date' },
  indexes: [{ keys: ['nextRunAt'], scope: 'all' }],
});

/** Of a limit: how many runs have a place under it, and whether others wait for one. */
export interface GateValue {
  readonly held: number;
  /** How often a run began to wait. */
  readonly parked: number;
  readonly waiting: boolean;
  /** A place became free since somebody who waited found none. */
  readonly room: boolean;
  /** Of all that wait; absent where their job had several names, and of the tenant's gate. */
  readonly jobName?: string;
}

/** Of each job with a limit, and of the tenant. */
export const GATES = defineOwnCollection<GateValue>({
  name: 'qm_job_gates',
  id: 'given',
  fields: { waiting: 'boolean', room: 'boolean' },
  indexes: [{ keys: ['waiting', 'room', 'updatedAt'], scope: 'all' }],
});

export const LINKS = defineOwnCollection<LinkValue>({
  name: 'qm_job_links',
  fields: { jobId: ID, taskId: ID },
  indexes: [{ keys: ['jobId', 'createdAt'] }, { keys: ['taskId'] }],
  unique: [{ name: 'task', fields: ['jobId', 'taskId'] }],
});

export const ASSIGNMENTS = defineOwnCollection<AssignmentValue>({
  name: 'qm_job_assignments',
  fields: { jobId: ID, assigneeId: ID, role: { type: 'string', maxBytes: 256 }, status: WORD },
  indexes: [{ keys: ['jobId', 'status'] }, { keys: ['assigneeId', 'status'] }],
  unique: [{ name: 'assignee', fields: ['jobId', 'assigneeId', 'role'] }],
});

export const JOB_STORE = defineStore('jobs', 'job', [JOBS, NUMBERS, RUNS, SCHEDULES, GATES, LINKS, ASSIGNMENTS]);

/** What a value is stored as: without what is absent. */
export function compact<T>(value: { readonly [K in keyof T]: T[K] | undefined }): T {
  return defined(value) as T;
}
