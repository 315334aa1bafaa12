/** What the parts of the job store have in common: how jobs and runs are read, and how changes are told. */
import { isDeepStrictEqual } from 'node:util';
import { Collection } from '../../collection/collection.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { CallOptions } from '../../component.js';
import { StorageError, UnsupportedError } from '../../errors.js';
import { deletionToldUntil, type Actor, type StoreEvent } from '../events.js';
import type { StoreHost } from '../host.js';
import { callOptions, Store, type EventList } from '../store.js';
import type { Unit } from '../unit.js';
import { RETRY, type readJobChanges } from './arguments.js';
import { withStart } from './events.js';
import { checkRoster, guardError } from './transitions.js';
import {
  JOB_STORE,
  JOBS,
  LINKS,
  NUMBERS,
  SCHEDULES,
  type Job,
  type JobStatus,
  type JobValue,
  type LinkValue,
} from './records.js';
import { findTasks, isTaskOver } from './tasks.js';

export type JobRecord = StoredRecord<JobValue>;

/** A job after a change, with the events of the change: none when nothing changed. */
export type JobChange = Job & { readonly events: readonly StoreEvent[] };

const LINKS_AT_ONCE = 1_000;

export interface JobStoreCapabilities {
  readonly reads: boolean;
  /** Everything that changes jobs, schedules, links and runs: records and events at once. */
  readonly changes: boolean;
  /** `claimDue`, `work`, and what a claimed run's holder does. */
  readonly claims: boolean;
  /** `delete`, which takes any number of runs with it. */
  readonly deletion: boolean;
}

export abstract class JobStoreBase extends Store {
  constructor(host: StoreHost) {
    super(JOB_STORE, host);
  }

  protected override async findEvents(aggregateId: string, list: EventList): Promise<StoreEvent[]> {
    const kept = await super.findEvents(aggregateId, list);
    return kept
      .flatMap(withStart)
      .filter(({ seq }) => seq > list.after)
      .slice(0, list.limit);
  }

  /** What the store's database lets it do; the rest throws `UNSUPPORTED`, before any I/O. */
  get capabilities(): JobStoreCapabilities {
    const { batch, transactions } = this.host.backend.capabilities;
    const atomic = batch === 'atomic';
    return { reads: true, changes: atomic, claims: atomic, deletion: atomic && transactions !== 'none' };
  }

  /** As `decide`, where records are written together. @throws `UNSUPPORTED` where the database cannot. */
  protected change<R>(
    operation: string,
    options: CallOptions,
    plan: (unit: Unit, host: StoreHost) => Promise<R>,
  ): Promise<R> {
    this.require('changes', operation);
    return this.decide(operation, callOptions(options), plan);
  }

  protected require(what: keyof JobStoreCapabilities, operation: string): void {
    if (this.capabilities[what]) return;
    throw new UnsupportedError(`jobs.${operation}: ${this.host.backend.name} has no atomic batches`, {
      component: 'jobs',
      operation: `jobs.${operation}`,
    });
  }

  protected async findJob(unit: Unit, id: string, operation: string): Promise<JobRecord> {
    const job = await unit.find(JOBS, id);
    if (job === undefined) throw this.missing('The job', id, operation);
    return job;
  }

  protected changed(job: JobRecord, events: readonly StoreEvent[]): JobChange {
    return { ...this.entity(job), events };
  }

  /** The job as it is, in a version that what is decided beside it stands on, with an event of it. */
  protected touch(unit: Unit, job: JobRecord, type: string, payload: object, actor: Actor): JobRecord {
    const next = unit.replace(JOBS, job, job.value);
    unit.event(next, type, payload, actor);
    return next;
  }

  protected setStatus(
    unit: Unit,
    job: JobRecord,
    to: JobStatus,
    actor: Actor,
    changes: Partial<JobValue> = {},
  ): JobRecord {
    const { currentRunId: _over, ...value } = job.value;
    const next = unit.replace<JobValue>(JOBS, job, { ...value, ...changes, status: to });
    const payload = { jobId: job.id, tenantId: unit.tenant, from: job.value.status, to };
    unit.event(next, 'status_changed', payload, actor);
    return next;
  }

  /** @throws `INVALID_TRANSITION` of the guard that holds it back, `DEPENDENCY_INCOMPLETE` for open tasks. */
  protected async guard(unit: Unit, host: StoreHost, job: JobRecord, to: JobStatus): Promise<void> {
    const { rosterGuard, scheduleGuard, tasksGuard } = host.settings.jobs;
    const { status, metadata } = job.value;
    const starts = to === 'scheduled' || to === 'running';
    if (starts && rosterGuard) checkRoster(metadata, status, to);
    const [schedule] = await Promise.all([
      starts && scheduleGuard ? unit.find(SCHEDULES, job.id) : undefined,
      (to === 'running' || to === 'succeeded') && tasksGuard ? this.guardTasks(unit, host, job) : undefined,
    ]);
    if (starts && scheduleGuard && schedule?.value.nextRunAt === undefined)
      throw guardError('schedule', status, to, 'The job has no schedule with a run to come');
  }

  protected async guardTasks(unit: Unit, host: StoreHost, job: JobRecord): Promise<void> {
    const open = await this.openTasks(unit, host, job.id);
    if (open.length === 0) return;
    throw new StorageError(
      'DEPENDENCY_INCOMPLETE',
      `${open.length} of the job's tasks are neither done nor cancelled`,
      {
        component: 'jobs',
        details: { ids: open },
      },
    );
  }

  protected async openTasks(unit: Unit, host: StoreHost, jobId: string): Promise<string[]> {
    const open: string[] = [];
    for (let after: StoredRecord<LinkValue> | undefined; ;) {
      const links = await unit.query(LINKS, { jobId }, { limit: LINKS_AT_ONCE, after });
      const ids = links.map(({ value }) => value.taskId);
      const tasks = await findTasks(host, ids);
      open.push(...ids.filter((_, i) => !isTaskOver(tasks[i])));
      if (links.length < LINKS_AT_ONCE) return open;
      after = links.at(-1);
    }
  }

  /** Gives the first of so many numbers for new runs of a job, which must be there still, and open, when they are written. */
  protected async takeRunNumbers(unit: Unit, host: StoreHost, jobId: string, count: number): Promise<number> {
    // Not a part of the decision: many that make runs of one job at once would all decide again.
    const last = await new Collection(NUMBERS, host).increment(jobId, 'last', count);
    unit.patch(NUMBERS, jobId, { increment: { made: count } }, { if: { closed: { $ne: true } } });
    return last - count + 1;
  }
}

export function removeJob(unit: Unit, job: JobRecord, actor: Actor): void {
  unit.remove(JOBS, job);
  const payload = { jobId: job.id, tenantId: unit.tenant };
  unit.event({ id: job.id, version: job.version + 1 }, 'deleted', payload, actor, deletionToldUntil(unit.now));
}

/** The value with the changes, of which `null` clears; and what of them makes a difference. */
export function applyChanges<T extends object>(
  value: T,
  changes: object,
): { readonly value: T; readonly changed: Readonly<Record<string, unknown>> } {
  const known = value as Readonly<Record<string, unknown>>;
  const changed = Object.fromEntries(
    Object.entries(changes).filter(([key, to]) => !isDeepStrictEqual(known[key] ?? null, to)),
  );
  const next = Object.entries({ ...known, ...changed }).filter(([, member]) => member !== null);
  return { value: Object.fromEntries(next) as T, changed };
}

/** As `applyChanges`, to a job: of its retry policy, what is given of it. */
export function applyJobChanges(
  value: JobValue,
  changes: ReturnType<typeof readJobChanges>,
): ReturnType<typeof applyChanges<JobValue>> {
  const { retry } = changes;
  if (retry === undefined || retry === null) return applyChanges(value, changes);
  return applyChanges(value, { ...changes, retry: { ...RETRY, ...value.retry, ...retry } });
}
