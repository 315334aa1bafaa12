/** Figures of the tenant's jobs, and what is old of them taken away. */
import type { CallOptions } from '../../component.js';
import { callOptions } from '../store.js';
import type { Filter } from '../../filter/syntax.js';
import type { Unit } from '../unit.js';
import { OPTIONS, readRetention } from './arguments.js';
import { removeJob } from './base.js';
import { ClaimOperations } from './claim-operations.js';
import type { RunRecord } from './run-ends.js';
import { RetentionSteps } from './retention-steps.js';
import { isRunOver } from './transitions.js';
import {
  ASSIGNMENTS,
  GATES,
  JOBS,
  LINKS,
  NUMBERS,
  RUNS,
  SCHEDULES,
  type JobStatus,
  type RunStatus,
  type RunValue,
} from './records.js';
import { DAY } from '../retention/days.js';

export interface JobStats {
  readonly jobs: Readonly<Partial<Record<JobStatus, number>>>;
  readonly runs: Readonly<Partial<Record<RunStatus, number>>>;
  /** Runs that failed for good. */
  readonly dead: number;
  /** Since when the run that waits longest could be claimed. */
  readonly oldestDue?: Date;
  /** Milliseconds that runs which have ended waited for their last claim. */
  readonly claimLatency: { readonly count: number; readonly average?: number; readonly max?: number };
}

export interface JobRetention {
  /** Deletes jobs that ended (and have no schedule), and runs, when that is more than so many days ago. 0: keeps them. */
  readonly jobDays?: number | undefined;
  /** Deletes runs that ended beyond the newest so many of a job, by their numbers. 0: keeps them. Default 100. */
  readonly keepRuns?: number | undefined;
}

export interface JobRetentionReport {
  readonly jobs: number;
  readonly runs: number;
  readonly dryRun: boolean;
}

const OVER = ['succeeded', 'failed', 'cancelled'] as const;
/** Links and assignments of one step, and events of one: a batch is of at most 500 records. */
const STEP = 100;
const EVENTS = 290;
/** Jobs of which it is counted at once how many runs they have. */
const JOBS_AT_ONCE = 200;

export abstract class MaintenanceOperations extends ClaimOperations {
  /** What the tenant has, by status. */
  async stats(options: CallOptions = {}): Promise<JobStats> {
    OPTIONS.read(options, 'options');
    const call = callOptions(options);
    await this.run('stats', call, () => Promise.resolve());
    const runs = this.records(RUNS);
    const [jobs, byStatus, dead, oldest] = await Promise.all([
      this.records(JOBS).aggregate({}, { by: ['status'] }, call),
      runs.aggregate({}, { by: ['status'], numbers: ['waitedMs'] }, call),
      runs.count({ status: 'failed', dead: true }, call),
      this.run('stats', call, ({ now }) =>
        runs.query({ status: 'scheduled', dueAt: { $lte: now } }, { ...call, sort: { dueAt: 'asc' }, limit: 1 }),
      ),
    ]);
    const waited = byStatus.map(({ numbers }) => numbers['waitedMs']);
    const count = waited.reduce((sum, each) => sum + each.count, 0);
    const total = waited.reduce((sum, each) => sum + each.sum, 0);
    const oldestDue = oldest.items[0]?.value.dueAt;
    return {
      jobs: countsOf(jobs),
      runs: countsOf(byStatus),
      dead,
      ...(oldestDue === undefined ? {} : { oldestDue }),
      claimLatency:
        count === 0 ? { count } : { count, average: total / count, max: Math.max(...waited.map(({ max = 0 }) => max)) },
    };
  }

  /**
   * Deletes what is old of the tenant's, in steps that are each whole: a call that was cut off is gone on with by the next.
   * With `dryRun` it tells what it would delete.
   */
  async retain(
    policy: JobRetention = {},
    options: CallOptions & { readonly dryRun?: boolean | undefined } = {},
  ): Promise<JobRetentionReport> {
    const { jobDays, keepRuns } = readRetention(policy, 'policy');
    const { dryRun } = OPTIONS.retain(options, 'options');
    if (!dryRun) this.require('changes', 'retain');
    const call = callOptions(options);
    return this.steps('retain', () => this.apply(jobDays, keepRuns, dryRun, call));
  }

  private async apply(
    jobDays: number,
    keepRuns: number,
    dryRun: boolean,
    call: CallOptions,
  ): Promise<JobRetentionReport> {
    const steps = new RetentionSteps(dryRun);
    let jobs = 0;
    if (jobDays > 0) {
      const before = await this.run('retain', call, ({ now }) =>
        Promise.resolve(new Date(now.getTime() - jobDays * DAY)),
      );
      const dropOld = (ids: readonly string[]): Promise<number> =>
        this.dropRuns(ids, (run) => hasEndedBefore(run, before), call);
      for await (const job of this.records(JOBS).each({ status: { $in: OVER }, updatedAt: { $lt: before } }, call)) {
        const [schedule, recent] = await Promise.all([
          this.records(SCHEDULES).find(job.id, call),
          this.records(RUNS).count({ jobId: job.id, $not: endedBefore(before) }, call),
        ]);
        if (schedule !== undefined || recent > 0) continue;
        await steps.take(this.records(RUNS).each({ jobId: job.id, ...endedBefore(before) }, call), dropOld);
        if (dryRun || (await this.dropJob(job.id, job.version, call))) jobs++;
      }
      const old = { status: { $in: OVER }, finishedAt: { $lt: before } };
      await steps.take(this.records(RUNS).each(old, call), dropOld);
    }
    if (keepRuns > 0) {
      const dropMore = (ids: readonly string[]): Promise<number> => this.dropRuns(ids, () => true, call);
      for await (const jobId of this.crowded(keepRuns, call)) {
        const over = { jobId, status: { $in: OVER } };
        const newestFirst = this.records(RUNS).each(over, { ...call, sort: { runNumber: 'desc' } });
        await steps.take(newestFirst, dropMore, keepRuns);
      }
    }
    return { jobs, runs: steps.count, dryRun };
  }

  /** Jobs with more runs that ended than are kept. */
  private async *crowded(keepRuns: number, call: CallOptions): AsyncGenerator<string> {
    // Page by page: an aggregate gives so many groups at most.
    let after: string | undefined;
    do {
      const page = await this.records(JOBS).query({}, { ...call, limit: JOBS_AT_ONCE, after });
      after = page.next;
      const jobId = { $in: page.items.map(({ id }) => id) };
      const groups = await this.records(RUNS).aggregate({ jobId, status: { $in: OVER } }, { by: ['jobId'] }, call);
      for (const { key, count } of groups) if (count > keepRuns) yield key['jobId'] as string;
    } while (after !== undefined);
  }

  /** Of these runs those that have ended, and meet the rule, as they are by now; with their events. @returns how many */
  private dropRuns(ids: readonly string[], isDue: (run: RunRecord) => boolean, call: CallOptions): Promise<number> {
    return this.inSteps(call, async (unit) => {
      const found = await unit.findMany(RUNS, ids);
      const runs = found.flatMap((run) =>
        run !== undefined && isRunOver(run.value.status) && isDue(run) ? [run] : [],
      );
      const whole = await this.dropEvents(
        unit,
        runs.map(({ id }) => id),
      );
      if (!whole) return undefined;
      for (const run of runs) unit.remove(RUNS, run);
      return runs.length;
    });
  }

  /** @returns whether it is gone: one that was changed, or got a run meanwhile, stays. */
  private dropJob(id: string, version: number, call: CallOptions): Promise<boolean> {
    return this.inSteps(call, async (unit) => {
      // The numbers before the runs: whoever makes a run after this changes them.
      const [job, numbers, gate, links, assignments] = await Promise.all([
        unit.find(JOBS, id),
        unit.find(NUMBERS, id),
        unit.find(GATES, id),
        unit.query(LINKS, { jobId: id }, { limit: STEP }),
        unit.query(ASSIGNMENTS, { jobId: id }, { limit: STEP }),
      ]);
      if (job?.version !== version || (await unit.query(RUNS, { jobId: id }, { limit: 1 })).length > 0) return false;
      for (const link of links) unit.remove(LINKS, link);
      for (const assignment of assignments) unit.remove(ASSIGNMENTS, assignment);
      if (links.length === STEP || assignments.length === STEP || !(await this.dropEvents(unit, [id])))
        return undefined;
      if (numbers !== undefined) unit.remove(NUMBERS, numbers);
      if (gate !== undefined) unit.remove(GATES, gate);
      removeJob(unit, job, {});
      return true;
    });
  }

  /** @param step gives `undefined` while something is left for another one */
  private async inSteps<R>(call: CallOptions, step: (unit: Unit) => Promise<R | undefined>): Promise<R> {
    for (;;) {
      const done = await this.change('retain', call, step);
      if (done !== undefined) return done;
    }
  }

  /** @returns whether none is left. */
  private async dropEvents(unit: Unit, aggregateIds: readonly string[]): Promise<boolean> {
    if (aggregateIds.length === 0) return true;
    const { events } = this.definition;
    const found = await unit.query(events, { aggregateId: { $in: aggregateIds } }, { limit: EVENTS });
    for (const event of found) unit.remove(events, event);
    return found.length < EVENTS;
  }
}

/** Runs that ended earlier; one whose end was not noted, that was made earlier. */
function endedBefore(before: Date): Filter<RunValue> {
  return {
    status: { $in: OVER },
    $or: [{ finishedAt: { $lt: before } }, { finishedAt: { $exists: false }, createdAt: { $lt: before } }],
  };
}

/** The same of a run that is over. */
function hasEndedBefore({ createdAt, value }: RunRecord, before: Date): boolean {
  return (value.finishedAt ?? createdAt) < before;
}

function countsOf(
  rows: readonly { readonly key: Readonly<Record<string, unknown>>; readonly count: number }[],
): Record<string, number> {
  return Object.fromEntries(rows.map(({ key, count }) => [key['status'] as string, count]));
}
