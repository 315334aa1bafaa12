/** Schedules: one a job, replaced whole. */
import type { CallOptions } from '../../component.js';
import type { NotFoundError } from '../../errors.js';
import { invalid } from '../../errors.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Actor } from '../events.js';
import type { Unit } from '../unit.js';
import { callOptions, checkIfVersion, type ChangeOptions } from '../store.js';
import { OPTIONS, readId, readSchedule } from './arguments.js';
import { JobOperations } from './job-operations.js';
import { readRecurrence } from './occurrences.js';
import { compact, SCHEDULES, type JobSchedule, type ScheduleValue } from './records.js';

export interface NewSchedule {
  /** Default: `cron`. */
  readonly scheduleType?: ScheduleValue['scheduleType'] | undefined;
  /**
   * `cron`: 5 or 6 fields (the first of 6 are seconds), or `@daily` and its like. `interval`: seconds, or `15m`, `2h`, `1d`.
   * `once`: a time of ISO 8601; one that is past makes no run, so that it may be set at each start of a service.
   */
  readonly expression: string;
  /** Of cron's local times; default: `UTC`. */
  readonly timezone?: string | undefined;
  /** In place of the first occurrence; from `startAt`, before `endAt`. */
  readonly nextRunAt?: Date | string | null | undefined;
  /** No occurrence before it. */
  readonly startAt?: Date | string | null | undefined;
  /** No occurrence at it or after. */
  readonly endAt?: Date | string | null | undefined;
  /**
   * What an interval counts from; default: `startAt`, or what the schedule before it counted from (not its `startAt`, and no time
   * to come), or now.
   */
  readonly anchorAt?: Date | string | null | undefined;
  readonly paused?: boolean | undefined;
  /**
   * What becomes of occurrences that nobody met within the grace: one run for all of them (`runOnce`, the default), none
   * (`skip`), or one each, the last 100 (`runAll`).
   */
  readonly misfire?: ScheduleValue['misfire'] | undefined;
  /** Default 60. */
  readonly misfireGraceSeconds?: number | undefined;
  /**
   * What becomes of an occurrence while a run of the job waits or is held: nothing (`skip`), a run that waits for its turn
   * (`queue`), or a run beside it (`allow`). Default: `skip`; `queue` where `misfire` is `runAll`, which `skip` contradicts.
   */
  readonly overlap?: ScheduleValue['overlap'] | undefined;
  /** Of each run. */
  readonly payload?: unknown;
  /** Of each run; greater ones are claimed first. Default 0. */
  readonly priority?: number | undefined;
  readonly metadata?: object | undefined;
}

export abstract class ScheduleOperations extends JobOperations {
  /**
   * Gives a job its schedule, in place of the one it has. The first occurrence is after now. `ifVersion` is the schedule's.
   * @throws `NOT_FOUND`, also for `ifVersion` where there is none; `CONFLICT`, `VALIDATION` for an expression or a zone that is none
   */
  async upsertSchedule(
    jobId: string,
    schedule: NewSchedule,
    options: ChangeOptions & Actor = {},
  ): Promise<JobSchedule> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(jobId, 'jobId');
    const wanted = await readNewSchedule(schedule, 'schedule');
    return this.change('upsertSchedule', options, async (unit) => {
      const [job, known] = await Promise.all([this.findJob(unit, id, 'upsertSchedule'), unit.find(SCHEDULES, id)]);
      if (known !== undefined) checkIfVersion(known, 'schedule', ifVersion);
      else if (ifVersion !== undefined) throw this.noSchedule(id, 'upsertSchedule');
      const record = writeSchedule(unit, id, known, await nextSchedule(known?.value, wanted, unit.now));
      this.touch(unit, job, 'schedule_changed', { action: 'set', nextRunAt: record.value.nextRunAt }, actor);
      return this.entity(record);
    });
  }

  /** @throws `NOT_FOUND` for a job that has none */
  async getSchedule(jobId: string, options: CallOptions = {}): Promise<JobSchedule> {
    OPTIONS.read(options, 'options');
    const id = readId(jobId, 'jobId');
    const found = await this.run('getSchedule', options, () => this.records(SCHEDULES).find(id, callOptions(options)));
    if (found === undefined) throw this.noSchedule(id, 'getSchedule');
    return this.entity(found);
  }

  /** No more occurrences until it is resumed; the job's status and its runs stay. @throws `NOT_FOUND`, `CONFLICT` */
  async pauseSchedule(jobId: string, options: ChangeOptions & Actor = {}): Promise<JobSchedule> {
    return this.setPaused('pauseSchedule', jobId, true, options);
  }

  /** The next occurrence is the first after now; also of a schedule that was stopped with its job. @throws `NOT_FOUND`, `CONFLICT` */
  async resumeSchedule(jobId: string, options: ChangeOptions & Actor = {}): Promise<JobSchedule> {
    return this.setPaused('resumeSchedule', jobId, false, options);
  }

  /** The next occurrences after now, whether it is paused or not; fewer when it ends. One that is due is not among them. @throws `NOT_FOUND` */
  async previewNextRuns(
    jobId: string,
    options: CallOptions & { readonly count?: number | undefined } = {},
  ): Promise<readonly Date[]> {
    const { count } = OPTIONS.previews(options, 'options');
    const id = readId(jobId, 'jobId');
    return this.run('previewNextRuns', options, async ({ now }) => {
      const found = await this.records(SCHEDULES).find(id, callOptions(options));
      if (found === undefined) throw this.noSchedule(id, 'previewNextRuns');
      const next = await readRecurrence(found.value);
      const runs: Date[] = [];
      const { nextRunAt } = found.value;
      let at = nextRunAt !== undefined && nextRunAt > now ? nextRunAt : next(now);
      for (; at !== undefined && runs.length < count; at = next(at)) runs.push(at);
      return runs;
    });
  }

  private async setPaused(
    operation: 'pauseSchedule' | 'resumeSchedule',
    jobId: string,
    paused: boolean,
    options: ChangeOptions & Actor,
  ): Promise<JobSchedule> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(jobId, 'jobId');
    return this.change(operation, options, async (unit) => {
      const [job, known] = await Promise.all([this.findJob(unit, id, operation), unit.find(SCHEDULES, id)]);
      if (known === undefined) throw this.noSchedule(id, operation);
      checkIfVersion(known, 'schedule', ifVersion);
      const isSame = known.value.paused === paused;
      // One whose job was cancelled is not paused, and has no occurrence to come.
      if (isSame && (paused || known.value.nextRunAt !== undefined)) return this.entity(known);
      const nextRunAt = paused ? undefined : (await readRecurrence(known.value))(unit.now);
      if (isSame && nextRunAt === undefined) return this.entity(known);
      const value = compact<ScheduleValue>({ ...known.value, paused, nextRunAt });
      this.touch(unit, job, 'schedule_changed', { action: paused ? 'paused' : 'resumed', nextRunAt }, actor);
      return this.entity(unit.replace<ScheduleValue>(SCHEDULES, known, value));
    });
  }

  private noSchedule(id: string, operation: string): NotFoundError {
    return this.missing('The schedule of the job', id, operation);
  }
}

/** A schedule as its caller wants it. */
export interface WantedSchedule {
  readonly value: Omit<ScheduleValue, 'anchorAt' | 'nextRunAt' | 'lastRunAt'>;
  /** As it is given, or `startAt`. */
  readonly anchorAt: Date | undefined;
  readonly nextRunAt: Date | undefined;
}

/** What takes the place of the one that is known. @param stopped it has no occurrence to come, as one whose job was cancelled */
export async function nextSchedule(
  known: ScheduleValue | undefined,
  { value: given, anchorAt, nextRunAt }: WantedSchedule,
  now: Date,
  stopped = false,
): Promise<ScheduleValue> {
  const value = { ...given, anchorAt: anchorAt ?? earlierAnchor(known, now) ?? now };
  const next = given.paused || stopped ? undefined : (nextRunAt ?? (await readRecurrence(value))(now));
  return compact<ScheduleValue>({ ...value, nextRunAt: next, lastRunAt: known?.lastRunAt });
}

export function writeSchedule(
  unit: Unit,
  id: string,
  known: StoredRecord<ScheduleValue> | undefined,
  value: ScheduleValue,
): StoredRecord<ScheduleValue> {
  return known === undefined ? unit.insert(SCHEDULES, value, { id }) : unit.replace(SCHEDULES, known, value);
}

/**
 * What the schedule before it counted from. A start that was taken away, or a time to come, would keep the new one from running until then.
 */
function earlierAnchor(known: ScheduleValue | undefined, now: Date): Date | undefined {
  if (known === undefined || known.anchorAt > now) return undefined;
  return known.anchorAt.getTime() === known.startAt?.getTime() ? undefined : known.anchorAt;
}

/** Before any I/O: whether it is an expression does not depend on the time. @throws `VALIDATION` */
export async function readNewSchedule(schedule: NewSchedule, key: string): Promise<WantedSchedule> {
  const { nextRunAt, anchorAt: anchor, ...given } = readSchedule(schedule, key);
  if (given.startAt !== undefined && given.endAt !== undefined && given.endAt <= given.startAt)
    throw invalid(`${key}.endAt`, given.endAt, 'a time after startAt');
  if (nextRunAt !== undefined && given.startAt !== undefined && nextRunAt < given.startAt)
    throw invalid(`${key}.nextRunAt`, nextRunAt, 'a time not before startAt');
  if (nextRunAt !== undefined && given.endAt !== undefined && nextRunAt >= given.endAt)
    throw invalid(`${key}.nextRunAt`, nextRunAt, 'a time before endAt');
  const anchorAt = anchor ?? given.startAt;
  const value = compact<WantedSchedule['value']>(given);
  await readRecurrence({ ...value, anchorAt: anchorAt ?? new Date(0) });
  return { value, anchorAt, nextRunAt };
}
