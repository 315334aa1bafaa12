/** Runs: made, read, changed and cancelled by whoever does not hold them. */
import type { CallOptions } from '../../component.js';
import { ConflictError, invalid } from '../../errors.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Actor, StoreEvent } from '../events.js';
import { list } from '../arguments.js';
import type { ListPage, PageOptions } from '../page.js';
import type { StoreHost } from '../host.js';
import { callOptions, checkIfVersion, type ChangeOptions } from '../store.js';
import type { Unit } from '../unit.js';
import { OPTIONS, readEnqueued, readId, readNewRun, readRunChanges } from './arguments.js';
import { applyChanges, type JobRecord } from './base.js';
import type { CreateOptions, JobDetails } from './job-operations.js';
import { LinkOperations } from './link-operations.js';
import { cancel, followRuns, runFacts, waiting, writeRun, type RunRecord } from './run-ends.js';
import { checkJobTransition, checkRoster, checkRunTransition, isRunOver } from './transitions.js';
import { compact, JOBS, NUMBERS, RUNS, type JobRun, type JobStatus, type RunStatus, type RunValue } from './records.js';

export interface NewRun {
  /** Default: `scheduled`. Nobody claims it: `enqueueRun` makes those that are. */
  readonly status?: RunStatus | undefined;
  readonly startedAt?: Date | string | null | undefined;
  readonly finishedAt?: Date | string | null | undefined;
  readonly metadata?: object | undefined;
}

export interface EnqueuedRun {
  /** Default: now. */
  readonly runAt?: Date | string | null | undefined;
  /** Any JSON. */
  readonly payload?: unknown;
  /** Greater ones are claimed first; default 0. */
  readonly priority?: number | undefined;
  readonly metadata?: object | undefined;
  /** The same key and content within 24 hours give the same run again. */
  readonly idempotencyKey?: string | undefined;
}

export type RunChange = JobRun & { readonly events: readonly StoreEvent[] };

/** What a run that is made takes over from its job. */
export function newRun(
  job: JobRecord,
  runNumber: number,
  run: Pick<RunValue, 'trigger' | 'metadata' | 'priority'> & Partial<RunValue>,
): RunValue {
  const { name: jobName, timeoutSeconds, retry } = job.value;
  const base = { jobId: job.id, jobName, runNumber, status: 'scheduled' as const, token: 0, attempt: 0 };
  return { ...base, ...compact({ timeoutSeconds, retry }), ...run };
}

export abstract class RunOperations extends LinkOperations {
  /** Notes a run that is made elsewhere. @throws `NOT_FOUND`, `CONFLICT` for a job that is cancelled */
  async createRun(jobId: string, run: NewRun = {}, options: CreateOptions = {}): Promise<RunChange> {
    const { idempotencyKey, ...actor } = OPTIONS.create(options, 'options');
    const id = readId(jobId, 'jobId');
    const { status, startedAt, finishedAt, metadata } = readNewRun(run, 'run');
    const content = { jobId: id, status, startedAt, finishedAt, metadata };
    return this.change('createRun', options, async (unit, host) => {
      const { result, remember } = await unit.once('jobs.createRun', idempotencyKey, content);
      if (result !== undefined) return this.runAsItIs(unit, result, 'createRun');
      const job = await this.openJob(unit, id, 'createRun');
      const number = await this.takeRunNumbers(unit, host, id, 1);
      const times = compact({ startedAt, finishedAt: finishedAt ?? (isRunOver(status) ? unit.now : undefined) });
      const made = this.insertRun(
        unit,
        newRun(job, number, { trigger: 'manual', metadata, priority: 0, status, ...times }),
        actor,
      );
      remember(made.id);
      return this.runChange(made, unit.events);
    });
  }

  /** Leaves a run for a worker. @throws `NOT_FOUND`, `CONFLICT` for a job that is cancelled */
  async enqueueRun(jobId: string, run: EnqueuedRun = {}, options: CallOptions & Actor = {}): Promise<RunChange> {
    const actor = OPTIONS.add(options, 'options');
    const id = readId(jobId, 'jobId');
    const { idempotencyKey, ...given } = readEnqueued(run, 'run');
    return this.change('enqueueRun', options, async (unit, host) => {
      const { result, remember } = await unit.once('jobs.enqueueRun', idempotencyKey, { jobId: id, ...given });
      if (result !== undefined) return this.runAsItIs(unit, result, 'enqueueRun');
      const [made] = await this.insertQueued(unit, host, id, [given], actor);
      remember(made!.id);
      return this.runChange(made!, unit.events);
    });
  }

  /** Leaves up to 400 runs at once: all of them or none. @throws as `enqueueRun` */
  async enqueueRuns(
    jobId: string,
    runs: readonly Omit<EnqueuedRun, 'idempotencyKey'>[],
    options: CallOptions & Actor = {},
  ): Promise<readonly JobRun[]> {
    const actor = OPTIONS.add(options, 'options');
    const id = readId(jobId, 'jobId');
    const given = list(readEnqueued, 400)(runs, 'runs');
    given.forEach(({ idempotencyKey }, i) => {
      if (idempotencyKey !== undefined) throw invalid(`runs[${i}].idempotencyKey`, idempotencyKey, 'no key');
    });
    if (given.length === 0) return [];
    return this.change('enqueueRuns', options, async (unit, host) => {
      const made = await this.insertQueued(unit, host, id, given, actor);
      return made.map((run) => this.entity(run));
    });
  }

  /** For runs that `createRun` noted: those in a queue or held are changed by what is done with them. */
  async updateRun(runId: string, changes: Partial<NewRun>, options: ChangeOptions & Actor = {}): Promise<RunChange> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(runId, 'runId');
    const wanted = readRunChanges(changes, 'changes');
    return this.change('updateRun', options, async (unit) => {
      const run = await this.findRun(unit, id, 'updateRun');
      checkIfVersion(run, 'run', ifVersion);
      const ends = wanted.status !== undefined && isRunOver(wanted.status) && !isRunOver(run.value.status);
      const finished = ends && wanted.finishedAt === undefined ? { finishedAt: run.value.finishedAt ?? unit.now } : {};
      const { value, changed } = applyChanges(run.value, { ...wanted, ...finished });
      if (Object.keys(changed).length === 0) return this.runChange(run, []);
      const { status: from, queue } = run.value;
      if (wanted.status !== undefined && wanted.status !== from) {
        if (queue !== undefined) throw queuedError(id);
        checkRunTransition(from, wanted.status);
      }
      const next = writeRun(unit, run, value);
      unit.event(next, 'run', { ...runFacts(next), status: next.value.status }, actor);
      return this.runChange(next, unit.events);
    });
  }

  /** The newest first. @throws `NOT_FOUND` */
  async listRuns(jobId: string, options: PageOptions = {}): Promise<ListPage<JobRun>> {
    OPTIONS.page(options, 'options');
    const id = readId(jobId, 'jobId');
    const [job, page] = await Promise.all([
      this.run('listRuns', options, () => this.records(JOBS).find(id, callOptions(options))),
      this.page(RUNS, { jobId: id }, { runNumber: 'desc' }, options),
    ]);
    if (job === undefined) throw this.missing('The job', id, 'listRuns');
    return page;
  }

  /** Runs that failed and that nobody tries again, the latest first: `enqueueRun` makes new ones in their place. */
  async listDeadRuns(options: PageOptions = {}): Promise<ListPage<JobRun>> {
    OPTIONS.page(options, 'options');
    return this.page(RUNS, { status: 'failed', dead: true }, { finishedAt: 'desc' }, options);
  }

  /** @throws `NOT_FOUND` */
  async getRun(runId: string, options: CallOptions = {}): Promise<JobRun> {
    OPTIONS.read(options, 'options');
    const id = readId(runId, 'runId');
    return this.reading('getRun', options, async (unit) => this.entity(await this.findRun(unit, id, 'getRun')));
  }

  /**
   * Cancels a run that waits; one that is held is asked to end (`cancelRequestedAt`), which its worker learns by its next
   * heartbeat. @throws `NOT_FOUND`, `INVALID_TRANSITION` for a run that has succeeded or failed
   */
  async cancelRun(runId: string, options: ChangeOptions & Actor = {}): Promise<RunChange> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(runId, 'runId');
    return this.change('cancelRun', options, async (unit) => {
      const run = await this.findRun(unit, id, 'cancelRun');
      checkIfVersion(run, 'run', ifVersion);
      const { status, cancelRequestedAt } = run.value;
      if (status === 'cancelled' || cancelRequestedAt !== undefined) return this.runChange(run, []);
      checkRunTransition(status, 'cancelled');
      const next = cancel(unit, run, actor);
      await followRuns(unit, [{ was: run, is: next }]);
      return this.runChange(next, unit.events);
    });
  }

  /**
   * Runs a job once more, whatever has become of it: the job is running until that run has ended.
   * @throws `NOT_FOUND`, `CONFLICT`, `INVALID_TRANSITION` without a roster, `DEPENDENCY_INCOMPLETE`
   */
  async rerun(jobId: string, options: ChangeOptions & Actor = {}): Promise<JobDetails> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(jobId, 'jobId');
    await this.change('rerun', options, async (unit, host) => {
      const [job, numbers] = await Promise.all([this.findJob(unit, id, 'rerun'), unit.find(NUMBERS, id)]);
      checkIfVersion(job, 'job', ifVersion);
      const from = job.value.status;
      const { rosterGuard, tasksGuard } = this.host.settings.jobs;
      if (from !== 'running') checkJobTransition(from, 'running', true);
      if (rosterGuard) checkRoster(job.value.metadata, from, 'running');
      if (tasksGuard && from !== 'running') await this.guardTasks(unit, host, job);
      // Its only writer by a version: a run that is made meanwhile makes this decided again.
      const { closed: _open, ...known } = numbers?.value ?? { last: 0, made: 0 };
      const runNumber = known.last + 1;
      const next = { ...known, last: runNumber, made: known.made + 1 };
      if (numbers === undefined) unit.insert(NUMBERS, next, { id });
      else unit.replace(NUMBERS, numbers, next);
      const metadata = { trigger: 'manual_rerun', requestedStatus: 'running' };
      const value = newRun(job, runNumber, { trigger: 'rerun', metadata, priority: 0, drivesJob: true });
      const run = this.insertRun(unit, queued(value, job.value.maxConcurrent, unit.now), actor);
      this.setStatus(unit, job, 'running' satisfies JobStatus, actor, { currentRunId: run.id });
    });
    return this.get(id, { ...callOptions(options), withSchedule: true, withRuns: true });
  }

  protected async findRun(unit: Unit, id: string, operation: string): Promise<RunRecord> {
    const run = await unit.find(RUNS, id);
    if (run === undefined) throw this.missing('The run', id, operation);
    return run;
  }

  /** @throws `CONFLICT` for a job of which no more runs are made */
  protected async openJob(unit: Unit, id: string, operation: string): Promise<JobRecord> {
    const job = await this.findJob(unit, id, operation);
    if (job.value.status !== 'cancelled') return job;
    throw new ConflictError('CONFLICT', `The job ${JSON.stringify(id)} is cancelled: rerun begins it again`, {
      component: 'jobs',
      details: { id, reason: 'cancelled' },
    });
  }

  protected insertRun(unit: Unit, value: RunValue, actor: Actor, id?: string): RunRecord {
    const run = unit.insert(RUNS, value, { id });
    unit.event(run, 'run', { ...runFacts(run), status: value.status }, actor);
    return run;
  }

  protected runChange(run: RunRecord, events: readonly StoreEvent[]): RunChange {
    return { ...this.entity(run), events };
  }

  private async runAsItIs(unit: Unit, id: string, operation: string): Promise<RunChange> {
    const run = await unit.find(RUNS, id);
    if (run === undefined) throw this.forgotten('The run', id, operation);
    return this.runChange(run, []);
  }

  private async insertQueued(
    unit: Unit,
    host: StoreHost,
    jobId: string,
    runs: readonly Omit<ReturnType<typeof readEnqueued>, 'idempotencyKey'>[],
    actor: Actor,
  ): Promise<StoredRecord<RunValue>[]> {
    const job = await this.openJob(unit, jobId, 'enqueueRun');
    const first = await this.takeRunNumbers(unit, host, jobId, runs.length);
    return runs.map(({ runAt, payload, priority, metadata }, i) => {
      const value = newRun(job, first + i, { trigger: 'manual', metadata, priority, ...compact({ payload }) });
      return this.insertRun(unit, queued(value, job.value.maxConcurrent, runAt ?? unit.now), actor);
    });
  }
}

/** Waiting to be claimed; behind a limit, if there is one. */
export function queued(run: RunValue, limit: number | undefined, dueAt: Date): RunValue {
  return waiting({ ...run, ...compact({ limit }) }, dueAt);
}

function queuedError(id: string): ConflictError {
  const message = `The run ${JSON.stringify(id)} is in a queue: it is claimed, cancelled, completed, not updated`;
  return new ConflictError('CONFLICT', message, { component: 'jobs', details: { id, reason: 'queued' } });
}
