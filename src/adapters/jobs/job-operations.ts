/** Jobs themselves: made, read, changed, ended, taken away. */
import type { CallOptions } from '../../component.js';
import { ConflictError, invalid, isStorageError, reworded, type StorageError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import type { Actor, StoreEvent } from '../events.js';
import type { ListPage, PageOptions } from '../page.js';
import type { StoreHost } from '../host.js';
import { callOptions, checkIfVersion, type ChangeOptions } from '../store.js';
import { conversationExists } from '../tasks/conversation.js';
import type { Unit } from '../unit.js';
import { OPTIONS, readId, readJobChanges, readJobStatus, readName, readNewJob } from './arguments.js';
import { applyJobChanges, JobStoreBase, removeJob, type JobChange, type JobRecord } from './base.js';
import { freePlaces, TENANT_GATE } from './gates.js';
import { cancel } from './run-ends.js';
import { checkJobTransition } from './transitions.js';
import {
  ASSIGNMENTS,
  compact,
  GATES,
  JOBS,
  LINKS,
  NUMBERS,
  RUNS,
  SCHEDULES,
  type Job,
  type JobRun,
  type JobSchedule,
  type JobStatus,
  type JobValue,
  type RetryPolicy,
} from './records.js';

export interface NewJob {
  /** Unique within the tenant. */
  readonly name: string;
  readonly description?: string | null | undefined;
  /** Default: `draft`. */
  readonly status?: JobStatus | undefined;
  readonly ownerId?: string | null | undefined;
  readonly conversationId?: string | null | undefined;
  readonly metadata?: object | undefined;
  /** How long one attempt of a run may take. */
  readonly timeoutSeconds?: number | null | undefined;
  /** How many runs may be held at once; default: any number. */
  readonly maxConcurrent?: number | null | undefined;
  /** Of its runs; default: 3 attempts, after 30 s, twice that, ... and up to 5 s more. */
  readonly retry?: Partial<RetryPolicy> | null | undefined;
}

/** `null` clears; of `retry`, what is not given stays. The status is changed by `transition`. */
export type JobChanges = Partial<Omit<NewJob, 'status'>>;

export interface CreateOptions extends CallOptions, Actor {
  /** The same key and content within 24 hours give the same again, and write nothing. */
  readonly idempotencyKey?: string | undefined;
}

export interface GetJobOptions extends CallOptions {
  readonly withSchedule?: boolean | undefined;
  /** The newest 50. */
  readonly withRuns?: boolean | undefined;
  /** The oldest 100 of the job's own; those of a run are under the run's id (`listEvents`). */
  readonly withEvents?: boolean | undefined;
}

export interface JobDetails extends Job {
  readonly schedule?: JobSchedule;
  readonly runs?: readonly JobRun[];
  readonly events?: readonly StoreEvent[];
}

export interface ListJobsOptions extends PageOptions {
  /** One or several; none of an empty list. */
  readonly status?: JobStatus | readonly JobStatus[] | undefined;
  readonly ownerId?: string | undefined;
}

/** Runs that one decision ends; a job that has more of them ends them page by page. */
const CANCELLED_AT_ONCE = 300;
/** What is not over, of which a job is seldom to have many. */
const OPEN_RUNS = { status: { $in: ['scheduled', 'running'] as const } };

export abstract class JobOperations extends JobStoreBase {
  /** Gives the job with its event. @throws `ALREADY_EXISTS` for a name that another job has; `VALIDATION`, for a conversation that is not there too */
  async create(job: NewJob, options: CreateOptions = {}): Promise<JobChange> {
    const { idempotencyKey, ...actor } = OPTIONS.create(options, 'options');
    const value = compact<JobValue>(readNewJob(job, 'job'));
    const create = this.change('create', options, async (unit, host) => {
      const { result, remember } = await unit.once('jobs.create', idempotencyKey, value);
      if (result !== undefined) {
        const known = await unit.find(JOBS, result);
        if (known === undefined) throw this.forgotten('The job', result, 'create');
        return this.changed(known, []);
      }
      await checkConversation(host, value.conversationId, 'job.conversationId');
      const made = this.insertJob(unit, value, actor);
      remember(made.id);
      return this.changed(made, unit.events);
    });
    return create.catch(nameTaken('create', value.name));
  }

  /** @throws `NOT_FOUND` */
  async get(id: string, options: GetJobOptions = {}): Promise<JobDetails> {
    const { withSchedule, withRuns, withEvents } = OPTIONS.get(options, 'options');
    const jobId = readId(id, 'id');
    const call = callOptions(options);
    await this.run('get', call, () => Promise.resolve());
    const [job, schedule, runs, events] = await Promise.all([
      this.records(JOBS).find(jobId, call),
      withSchedule ? this.records(SCHEDULES).find(jobId, call) : undefined,
      withRuns ? this.records(RUNS).query({ jobId }, { ...call, sort: { runNumber: 'desc' }, limit: 50 }) : undefined,
      withEvents ? this.listEvents(jobId, call) : undefined,
    ]);
    if (job === undefined) throw this.missing('The job', jobId, 'get');
    return {
      ...this.entity(job),
      ...(schedule === undefined ? {} : { schedule: this.entity(schedule) }),
      ...(runs === undefined ? {} : { runs: runs.items.map((run) => this.entity(run)) }),
      ...(events === undefined ? {} : { events }),
    };
  }

  /** @throws `NOT_FOUND` */
  async getByName(name: string, options: CallOptions = {}): Promise<Job> {
    OPTIONS.read(options, 'options');
    const wanted = readName(name, 'name');
    await this.run('getByName', options, () => Promise.resolve());
    const { items } = await this.records(JOBS).query({ name: wanted }, { ...callOptions(options), limit: 1 });
    if (items[0] === undefined) throw this.missing('The job of the name', wanted, 'getByName');
    return this.entity(items[0]);
  }

  /** The newest first. */
  async list(options: ListJobsOptions = {}): Promise<ListPage<Job>> {
    const { status, ownerId } = OPTIONS.list(options, 'options');
    const filter = {
      ...(status === undefined ? {} : { status: { $in: status } }),
      ...(ownerId === undefined ? {} : { ownerId }),
    };
    return this.page(JOBS, filter, { createdAt: 'desc' }, options);
  }

  /** Changes what is given. @throws `NOT_FOUND`, `CONFLICT`, `ALREADY_EXISTS` for the name, `VALIDATION` */
  async update(id: string, changes: JobChanges, options: ChangeOptions & Actor = {}): Promise<JobChange> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const jobId = readId(id, 'id');
    if (isPlainObject(changes) && 'status' in changes)
      throw invalid('changes.status', changes['status'], 'no status: transition changes it');
    const wanted = readJobChanges(changes, 'changes');
    const update = this.change('update', options, async (unit, host) => {
      const job = await this.findJob(unit, jobId, 'update');
      checkIfVersion(job, 'job', ifVersion);
      const { value, changed } = applyJobChanges(job.value, wanted);
      if (Object.keys(changed).length === 0) return this.changed(job, []);
      if ('conversationId' in changed) await checkConversation(host, value.conversationId, 'changes.conversationId');
      const next = unit.replace(JOBS, job, value);
      unit.event(next, 'updated', { jobId, tenantId: unit.tenant, changes: changed }, actor);
      return this.changed(next, unit.events);
    });
    return update.catch(nameTaken('update', wanted.name));
  }

  /**
   * Takes the job to another status. Cancelling it ends its waiting runs, asks for the end of those that are held, and
   * stops its schedule. @throws `NOT_FOUND`, `CONFLICT`, `INVALID_TRANSITION`, `DEPENDENCY_INCOMPLETE`
   */
  async transition(id: string, status: JobStatus, options: ChangeOptions & Actor = {}): Promise<JobChange> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const jobId = readId(id, 'id');
    const to = readJobStatus(status, 'status');
    const step = (): Promise<JobChange | undefined> =>
      this.change('transition', options, async (unit, host) => {
        const job = await this.findJob(unit, jobId, 'transition');
        checkIfVersion(job, 'job', ifVersion);
        if (job.value.status === to) return this.changed(job, []);
        checkJobTransition(job.value.status, to);
        await this.guard(unit, host, job, to);
        if (to === 'cancelled' && !(await this.endRuns(unit, job, actor))) return undefined;
        return this.changed(this.setStatus(unit, job, to, actor), unit.events);
      });
    const all = async (): Promise<JobChange> => (await step()) ?? all();
    return to === 'cancelled' ? this.steps('transition', all) : all();
  }

  protected insertJob(unit: Unit, value: JobValue, actor: Actor): JobRecord {
    const made = unit.insert(JOBS, value);
    const { status } = value;
    unit.insert(NUMBERS, { last: 0, made: 0, ...(status === 'cancelled' ? { closed: true } : {}) }, { id: made.id });
    unit.event(made, 'created', { jobId: made.id, tenantId: unit.tenant, status }, actor);
    return made;
  }

  /** @returns whether none is left; then nothing can be made any more either. */
  private async endRuns(unit: Unit, { id: jobId }: JobRecord, actor: Actor): Promise<boolean> {
    // The numbers before the runs: a run that is made after this changes them.
    const [numbers, schedule] = await Promise.all([unit.find(NUMBERS, jobId), unit.find(SCHEDULES, jobId)]);
    const open = await unit.query(
      RUNS,
      { jobId, ...OPEN_RUNS, cancelRequestedAt: { $exists: false } },
      { limit: CANCELLED_AT_ONCE + 1 },
    );
    freePlaces(
      unit,
      open.slice(0, CANCELLED_AT_ONCE).map((run) => ({ was: run, is: cancel(unit, run, actor) })),
    );
    if (open.length > CANCELLED_AT_ONCE) {
      unit.isPart = true;
      return false;
    }
    if (numbers !== undefined) unit.replace(NUMBERS, numbers, { ...numbers.value, closed: true });
    if (schedule?.value.nextRunAt !== undefined) {
      const { nextRunAt: _none, ...value } = schedule.value;
      unit.replace(SCHEDULES, schedule, value);
    }
    return true;
  }

  /**
   * Deletes the job with its schedule, runs, links and assignments, and their events. That it was deleted can be read from
   * its events for 30 days.
   * @throws `NOT_FOUND`, `CONFLICT` when a run of it is held and `force` is not said, `UNSUPPORTED` without transactions
   */
  async delete(
    id: string,
    options: ChangeOptions & Actor & { readonly force?: boolean | undefined } = {},
  ): Promise<{ readonly deleted: true; readonly runs: number }> {
    const { ifVersion, force, ...actor } = OPTIONS.delete(options, 'options');
    const jobId = readId(id, 'id');
    this.require('deletion', 'delete');
    return this.host.transaction(callOptions(options), (inside) =>
      this.at(inside).deleteInside(jobId, ifVersion, force, actor),
    );
  }

  private async deleteInside(
    jobId: string,
    ifVersion: number | undefined,
    force: boolean,
    actor: Actor,
  ): Promise<{ deleted: true; runs: number }> {
    const runs = this.records(RUNS);
    // First, so that no run is made any more, and nothing else decided.
    await this.decide('delete', {}, async (unit) => {
      const job = await this.findJob(unit, jobId, 'delete');
      checkIfVersion(job, 'job', ifVersion);
      const held = await unit.query(RUNS, { jobId, status: 'running', dueAt: { $gt: unit.now } }, { limit: 1 });
      if (held.length > 0 && !force) throw heldError(jobId, held[0]!.id);
      const [numbers, gate] = await Promise.all([unit.find(NUMBERS, jobId), unit.find(GATES, jobId)]);
      if (numbers !== undefined) unit.remove(NUMBERS, numbers);
      if (gate !== undefined) unit.remove(GATES, gate);
      removeJob(unit, job, actor);
    });
    let count = 0;
    let places = 0;
    for (;;) {
      const { items } = await runs.query({ jobId }, { limit: 500 });
      if (items.length === 0) break;
      const ids = items.map((run) => run.id);
      places += items.filter(({ value }) => value.tenantSlot === true).length;
      await this.records(this.definition.events).deleteWhere({ aggregateId: { $in: ids } });
      count += await runs.deleteWhere({ id: { $in: ids } });
    }
    if (places > 0) await this.records(GATES).patch(TENANT_GATE, { increment: { held: -places }, set: { room: true } });
    await this.records(SCHEDULES).deleteWhere({ id: jobId });
    await this.records(LINKS).deleteWhere({ jobId });
    await this.records(ASSIGNMENTS).deleteWhere({ jobId });
    await this.records(this.definition.events).deleteWhere({ aggregateId: jobId, type: { $ne: 'job.deleted' } });
    return { deleted: true, runs: count };
  }
}

/** @throws `VALIDATION` for one that is not the tenant's */
export async function checkConversation(host: StoreHost, id: string | undefined, key: string): Promise<void> {
  if (id !== undefined && !(await conversationExists(host, id)))
    throw invalid(key, id, "one of the tenant's conversations");
}

function heldError(jobId: string, runId: string): StorageError {
  const message = `A run of the job ${JSON.stringify(jobId)} is held by a worker; force deletes it all the same`;
  return new ConflictError('CONFLICT', message, { component: 'jobs', details: { reason: 'held', id: jobId, runId } });
}

export function isNameTaken(error: unknown): error is StorageError {
  return isStorageError(error, 'ALREADY_EXISTS') && error.details['collection'] === JOBS.name;
}

/** In the words of the store, what the database says of a name that is taken. */
function nameTaken(operation: string, name: string | undefined): (error: unknown) => never {
  return (error) => {
    if (!isNameTaken(error)) throw error;
    throw reworded(error, `A job named ${JSON.stringify(name)} is there already (getByName)`, {
      component: 'jobs',
      operation: `jobs.${operation}`,
      details: { ...error.details, name },
    });
  };
}
