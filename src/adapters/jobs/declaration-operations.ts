/** Jobs that a service's code declares, at each start and in any number of processes. */
import { isDeepStrictEqual } from 'node:util';
import type { CallOptions } from '../../component.js';
import { isPlainObject } from '../../filter/json.js';
import type { Actor } from '../events.js';
import type { StoreHost } from '../host.js';
import type { Unit } from '../unit.js';
import { OPTIONS, readJobChanges, readNewJob } from './arguments.js';
import { applyJobChanges, type JobChange } from './base.js';
import { checkConversation, isNameTaken, type NewJob } from './job-operations.js';
import { compact, JOBS, SCHEDULES, type JobValue, type ScheduleValue } from './records.js';
import { readNewSchedule, ScheduleOperations, type NewSchedule, type WantedSchedule } from './schedule-operations.js';

export interface EnsureJobOptions extends CallOptions, Actor {
  /**
   * In place of the one it has, where that differs: a schedule that is as it is given stays, with an occurrence that is due.
   * One that somebody has paused stays paused, unless `paused` is given. Absent: what schedule it has is left.
   */
  readonly schedule?: NewSchedule | undefined;
}

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
   * The job of this name as it is given: made where there is none; of one that is there, what is given and differs is changed,
   * except for the status, which is of the moment it was made. Gives the job with the events of the change: none where it was
   * so already. Any number of processes may say the same at once.
   * @throws `VALIDATION`, for an expression or a zone of the schedule that is none too
   */
  async ensure(job: NewJob, options: EnsureJobOptions = {}): Promise<JobChange> {
    const { schedule, ...actor } = OPTIONS.ensure(options, 'options');
    const value = compact<JobValue>(readNewJob(job, 'job'));
    const { status: _ofItsMaking, ...given } = job;
    const declaration: Declaration = {
      value,
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
    const { value: wanted, changed } =
      known === undefined ? { value, changed: value } : applyJobChanges(known.value, changes);
    const current = known === undefined ? undefined : await unit.find(SCHEDULES, known.id);
    const isNew = schedule !== undefined && !(current !== undefined && isSame(current.value, schedule, tellsPaused));
    if (known !== undefined && !isNew && Object.keys(changed).length === 0) return this.changed(known, []);
    if ('conversationId' in changed) await checkConversation(host, wanted.conversationId, 'job.conversationId');
    const job = known === undefined ? this.insertJob(unit, wanted, actor) : unit.replace(JOBS, known, wanted);
    if (known !== undefined && Object.keys(changed).length > 0)
      unit.event(job, 'updated', { jobId: job.id, tenantId: unit.tenant, changes: changed }, actor);
    if (isNew) {
      const paused = tellsPaused ? schedule.value.paused : (current?.value.paused ?? schedule.value.paused);
      const own = { ...schedule, value: { ...schedule.value, paused } };
      const { nextRunAt } = (await this.setSchedule(unit, job.id, current, own)).value;
      unit.event(job, 'schedule_changed', { action: 'set', nextRunAt }, actor);
    }
    return this.changed(job, unit.events);
  }
}

/** Whether the schedule says what is wanted. `nextRunAt` is of the moment when it is set. */
function isSame(current: ScheduleValue, { value, anchorAt }: WantedSchedule, tellsPaused: boolean): boolean {
  const { anchorAt: anchor, nextRunAt: _next, lastRunAt: _last, ...own } = current;
  const wanted = tellsPaused ? value : { ...value, paused: own.paused };
  return isDeepStrictEqual(own, wanted) && (anchorAt === undefined || isDeepStrictEqual(anchor, anchorAt));
}
