/** Jobs that a service's code declares, at each start and in any number of processes. */
import { isDeepStrictEqual } from 'node:util';
import type { CallOptions } from '../../component.js';
import { isPlainObject } from '../../filter/json.js';
import type { Actor } from '../events.js';
import type { StoreHost } from '../host.js';
import type { Unit } from '../unit.js';
import { OPTIONS, readGivenStatus, readJobChanges, readNewJob } from './arguments.js';
import { applyJobChanges, type JobChange } from './base.js';
import { checkConversation, isNameTaken, type NewJob } from './job-operations.js';
import { readRecurrence } from './occurrences.js';
import { compact, JOBS, SCHEDULES, type JobStatus, type JobValue, type ScheduleValue } from './records.js';
import {
  nextSchedule,
  readNewSchedule,
  ScheduleOperations,
  writeSchedule,
  type NewSchedule,
  type WantedSchedule,
} from './schedule-operations.js';

export interface EnsureJobOptions extends CallOptions, Actor {
  /**
   * In place of the one it has, where that differs: a schedule that is as it is given stays, with an occurrence that is due.
   * One that somebody has paused stays paused, unless `paused` is given; one that was stopped with its job stays so until it is
   * resumed (`resumeSchedule`). Absent: what schedule it has is left.
   */
  readonly schedule?: NewSchedule | undefined;
}

/** What a job is to be that is declared as one that does something. */
const STARTED: ReadonlySet<JobStatus> = new Set(['scheduled', 'running']);

/** What is declared of a job, checked. */
interface Declaration {
  readonly value: JobValue;
  /** What it says of a job that is there; the status is not among it. */
  readonly changes: ReturnType<typeof readJobChanges>;
  readonly schedule: WantedSchedule | undefined;
  /** Whether it says whether the schedule is paused. */
  readonly tellsPaused: boolean;
}

export abstract class DeclarationOperations extends ScheduleOperations {
  /**
   * The job of this name as it is given: made where there is none; of one that is there, what is given and differs is changed.
   * Its status is that of its making (with a schedule `scheduled`, where none is given); later it is left, but a draft becomes
   * what is given, and one that has failed or succeeded is scheduled again where the schedule that is given has occurrences to
   * come. Gives the job with the events of the change: none where it was so already. Any number of processes may say the
   * same at once.
   * @throws `VALIDATION`, for an expression or a zone of the schedule that is none too
   */
  async ensure(job: NewJob, options: EnsureJobOptions = {}): Promise<JobChange> {
    const { schedule, ...actor } = OPTIONS.ensure(options, 'options');
    const read = readNewJob(job, 'job');
    const { status: givenStatus, ...given } = job;
    const status = readGivenStatus(givenStatus, 'job.status') ?? (schedule === undefined ? 'draft' : 'scheduled');
    const declaration: Declaration = {
      value: compact<JobValue>({ ...read, status }),
      changes: readJobChanges(given, 'job'),
      schedule: schedule === undefined ? undefined : await readNewSchedule(schedule as NewSchedule, 'options.schedule'),
      tellsPaused: isPlainObject(schedule) && schedule['paused'] !== undefined,
    };
    const decide = (): Promise<JobChange> =>
      this.change('ensure', options, (unit, host) => this.declare(unit, host, declaration, actor));
    // Another process that was faster with it has made it: it is there now. In a transaction that is the end of it.
    return decide().catch((error: unknown) => {
      if (!isNameTaken(error)) throw error;
      return decide();
    });
  }

  private async declare(
    unit: Unit,
    host: StoreHost,
    { value, changes, schedule, tellsPaused }: Declaration,
    actor: Actor,
  ): Promise<JobChange> {
    const [known] = await unit.query(JOBS, { name: value.name }, { limit: 1 });
    const { value: merged, changed } =
      known === undefined ? { value, changed: value } : applyJobChanges(known.value, changes);
    const current = known === undefined ? undefined : await unit.find(SCHEDULES, known.id);
    const isNew = schedule !== undefined && !(current !== undefined && isSame(current.value, schedule, tellsPaused));
    const status = known?.value.status ?? value.status;
    const next = isNew ? await declaredSchedule(current?.value, schedule, tellsPaused, status, unit.now) : undefined;
    const declared = schedule === undefined ? undefined : (next ?? current?.value);
    const to = known === undefined ? status : await statusOf(status, value.status, declared, unit.now);
    if (known !== undefined && next === undefined && to === status && Object.keys(changed).length === 0)
      return this.changed(known, []);
    if ('conversationId' in changed) await checkConversation(host, merged.conversationId, 'job.conversationId');
    const wanted = { ...merged, status: to };
    const job = known === undefined ? this.insertJob(unit, wanted, actor) : unit.replace(JOBS, known, wanted);
    if (known !== undefined && Object.keys(changed).length > 0)
      unit.event(job, 'updated', { jobId: job.id, tenantId: unit.tenant, changes: changed }, actor);
    if (to !== status)
      unit.event(job, 'status_changed', { jobId: job.id, tenantId: unit.tenant, from: status, to }, actor);
    if (next !== undefined) {
      writeSchedule(unit, job.id, current, next);
      unit.event(job, 'schedule_changed', { action: 'set', nextRunAt: next.nextRunAt }, actor);
    }
    return this.changed(job, unit.events);
  }
}

/** What a job that is there becomes: a draft what is given, one that is over is scheduled for what its schedule has to come. */
async function statusOf(
  status: JobStatus,
  given: JobStatus,
  declared: ScheduleValue | undefined,
  now: Date,
): Promise<JobStatus> {
  if (!STARTED.has(given)) return status;
  if (status === 'draft') return given;
  if (declared === undefined || (status !== 'failed' && status !== 'succeeded')) return status;
  // One that is paused has what comes once it is resumed, if anything does.
  const next = declared.nextRunAt ?? (declared.paused ? (await readRecurrence(declared))(now) : undefined);
  return next === undefined ? status : 'scheduled';
}

async function declaredSchedule(
  current: ScheduleValue | undefined,
  { value, ...rest }: WantedSchedule,
  tellsPaused: boolean,
  status: JobStatus,
  now: Date,
): Promise<ScheduleValue> {
  const paused = tellsPaused ? value.paused : (current?.paused ?? value.paused);
  const stopped = await isStopped(current, status, now);
  return nextSchedule(current, { ...rest, value: { ...value, paused } }, now, stopped);
}

/** Whether a schedule was stopped with its job, and nobody has resumed it since. One that has ended by itself was not. */
async function isStopped(current: ScheduleValue | undefined, status: JobStatus, now: Date): Promise<boolean> {
  if (current?.nextRunAt !== undefined) return false;
  if (status === 'cancelled') return true;
  if (current === undefined || current.paused) return false;
  return (await readRecurrence(current))(now) !== undefined;
}

/** Whether the schedule says what is wanted. `nextRunAt` is of the moment when it is set. */
function isSame(current: ScheduleValue, { value, anchorAt }: WantedSchedule, tellsPaused: boolean): boolean {
  const { anchorAt: anchor, nextRunAt: _next, lastRunAt: _last, ...own } = current;
  const wanted = tellsPaused ? value : { ...value, paused: own.paused };
  return isDeepStrictEqual(own, wanted) && (anchorAt === undefined || isDeepStrictEqual(anchor, anchorAt));
}
