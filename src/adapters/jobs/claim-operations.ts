/** Claims over every tenant: leases that have ended, schedules that are due, then runs. */
import { copyJson, jsonBytes } from '../../backends/value.js';
import type { CallOptions, OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { groupBy } from '../../collection/group-by.js';
import { LIBRARY } from '../../collection/library.js';
import type { StoreHost } from '../host.js';
import type { Entity } from '../store.js';
import { readClaim } from './arguments.js';
import { claimOpen, findEverywhere, findExpired, type Taking, type TenantRecord } from './claim.js';
import { GatedClaims } from './gated-claims.js';
import { missedOccurrences, readRecurrence, toRun } from './occurrences.js';
import type { Unit } from '../unit.js';
import { deadRun, endAttempt, endUnwritable, followRuns, isHeld, occurrenceId, type RunRecord } from './run-ends.js';
import { newRun, queued } from './run-operations.js';
import { compact, JOBS, RUNS, SCHEDULES, type RunValue, type ScheduleValue } from './records.js';

/** A run that is the claimer's until `dueAt`, under `token`; `storage.tenant(run.tenantId).jobs` takes what becomes of it. */
export type ClaimedRun<Payload = RunValue['payload']> = Omit<Entity<RunValue>, 'payload'> & PayloadOf<Payload> & Claim;

type PayloadOf<Payload> = undefined extends Payload ? { readonly payload?: Payload } : { readonly payload: Payload };

interface Claim {
  readonly workerId: string;
  readonly startedAt: Date;
  /** When the lease ends. */
  readonly dueAt: Date;
}

export interface JobClaimOptions extends CallOptions {
  /** Who claims: kept on the run. */
  readonly workerId: string;
  /** 1 to 1,000; default 1. */
  readonly limit?: number | undefined;
  /** Only runs of the jobs of these names, 1 to 100, of every tenant; default: of all. */
  readonly jobs?: readonly string[] | undefined;
  /** Default 60. */
  readonly leaseSeconds?: number | undefined;
  /** The time by which runs are due, and from which leases and the wait for a next attempt count; default: now. */
  readonly now?: Date | string | undefined;
}

/** Schedules and ended leases that one claim looks after; the next one goes on. */
const LOOKED_AFTER = 100;
/** Milliseconds. */
const LOOK_AFTER_EVERY = 1_000;
/** More than the event of a run that is made has, and the run's times. */
const EVENT_BYTES = 1_024;

export abstract class ClaimOperations extends GatedClaims {
  /** When it was looked after leases and schedules, by the monotonic clock. */
  private lookedAfter = -Infinity;

  /**
   * Takes runs that are due, of every tenant: the most urgent first, then the longest due. Before that it makes the runs of
   * schedules that are due, and takes back runs whose leases have ended. No run is held twice.
   * Only the manager's own store has it. @throws `VALIDATION`, `UNSUPPORTED`
   */
  async claimDue(options: JobClaimOptions): Promise<readonly ClaimedRun[]> {
    const { workerId, limit, jobs, leaseSeconds, now } = readClaim(options, 'options');
    this.requireAll('claimDue');
    this.require('claims', 'claimDue');
    return this.ofAll().run('claimDue', options, async (own) => {
      const context = now === undefined ? own : { ...own, now };
      const taken = await this.claimLookingAfter({ workerId, limit, jobs }, leaseSeconds, context, now !== undefined);
      return taken.map(claimedRun);
    });
  }

  /** The same of no tenant: it works where every call needs one, too. */
  protected ofAll(): this {
    return this.at(this.host.of(LIBRARY.tenant));
  }

  /** While there is enough to take, the rest is looked after once a second: a claim is one statement then. */
  protected async claimLookingAfter(
    asked: Omit<Taking, 'leaseUntil'>,
    leaseSeconds: number,
    context: OperationContext,
    first: boolean,
  ): Promise<TenantRecord<RunValue>[]> {
    const late = this.host.clock.monotonic() - this.lookedAfter >= LOOK_AFTER_EVERY;
    if (first || late) await this.lookAfter(context);
    const taken = await this.claimSome(asked, leaseSeconds, context, first || late);
    if (first || late || taken.length === asked.limit) return taken;
    return this.andMore(taken, async () => {
      const rest = { ...asked, limit: asked.limit - taken.length };
      if (await this.lookAfter(context)) taken.push(...(await this.claimSome(rest, leaseSeconds, context, true)));
    });
  }

  /** Ends the leases that are over, and makes the runs that schedules want. @returns whether there was something to do. */
  private async lookAfter(context: OperationContext): Promise<boolean> {
    const { backend } = this.host;
    this.lookedAfter = this.host.clock.monotonic();
    const [expired, due] = await Promise.all([
      findExpired(backend, LOOKED_AFTER, context),
      findEverywhere(
        backend,
        SCHEDULES,
        { nextRunAt: { $lte: context.now } },
        { nextRunAt: 'asc' },
        LOOKED_AFTER,
        context,
      ),
    ]);
    for (const [tenant, runs] of groupBy(expired, ({ tenant }) => tenant))
      await this.apart(() => this.of(tenant).expireLeases(runs, context));
    for (const { tenant, id } of due) await this.apart(() => this.of(tenant).makeDueRuns(id, context));
    return expired.length + due.length > 0;
  }

  /** @param gatedFirst so that a queue which is never empty does not keep those behind limits waiting */
  private async claimSome(
    { limit, ...asked }: Omit<Taking, 'leaseUntil'>,
    leaseSeconds: number,
    context: OperationContext,
    gatedFirst: boolean,
  ): Promise<TenantRecord<RunValue>[]> {
    const leaseUntil = new Date(context.now.getTime() + Math.ceil(leaseSeconds * 1_000));
    const { tenantConcurrency } = this.host.settings.jobs;
    const open = (most: number): Promise<TenantRecord<RunValue>[]> =>
      claimOpen(this.host.backend, { ...asked, leaseUntil, limit: most }, this.backlog, context);
    const gated = (most: number): Promise<TenantRecord<RunValue>[]> =>
      this.claimGated({ ...asked, leaseUntil, limit: most }, tenantConcurrency, context);
    if (tenantConcurrency > 0) return gated(limit);
    const [first, second] = gatedFirst ? [gated, open] : [open, gated];
    const taken = await first(limit);
    if (taken.length === limit) return taken;
    return this.andMore(taken, async () => taken.push(...(await second(limit - taken.length))));
  }

  private of(tenant: string): this {
    return this.at(this.host.of(tenant));
  }

  /** Together; where one of them cannot be written, each by itself, and that one without what makes it too large. */
  protected async expireLeases(expired: readonly TenantRecord<RunValue>[], context: OperationContext): Promise<void> {
    try {
      await this.expireSome(expired, context, (unit, run, now) => endAttempt(unit, run, { kind: 'expired' }, now));
    } catch (error) {
      if (!isStorageError(error, 'VALIDATION')) throw error;
      if (expired.length === 1) return this.expireSome(expired, context, endUnwritable);
      for (const run of expired) await this.apart(() => this.expireLeases([run], context));
    }
  }

  private async expireSome(
    expired: readonly TenantRecord<RunValue>[],
    context: OperationContext,
    end: (unit: Unit, run: RunRecord, now: Date) => RunRecord,
  ): Promise<void> {
    const ended = await this.change('expire', this.restOf(context), async (unit) => {
      const runs = await unit.findMany(
        RUNS,
        expired.map(({ id }) => id),
      );
      const over = runs.flatMap((run, i) => {
        const isOver = isHeld(run, expired[i]!.value.token) && run.value.dueAt! <= context.now;
        return isOver ? [{ was: run, is: end(unit, run, context.now) }] : [];
      });
      await followRuns(unit, over);
      return over;
    });
    // Its worker is gone, and tells nobody.
    const lost = new StorageError('LEASE_LOST', 'The lease of its last attempt ran out: its worker ended, or hung');
    for (const { is } of ended)
      if (is.value.dead === true) this.host.report(deadRun({ ...is, tenant: this.host.tenant }, lost));
  }

  /** Makes the runs of the occurrences that are due, and moves the schedule to the next that has none, in one step. */
  protected makeDueRuns(jobId: string, context: OperationContext): Promise<void> {
    const { now } = context;
    return this.change('makeDueRuns', this.restOf(context), async (unit, host) => {
      const [schedule, job, open] = await Promise.all([
        unit.find(SCHEDULES, jobId),
        unit.find(JOBS, jobId),
        // Not those that are only noted: nobody claims them.
        unit.query(RUNS, { jobId, status: { $in: ['scheduled', 'running'] }, queue: { $exists: true } }, { limit: 1 }),
      ]);
      const first = schedule?.value.nextRunAt;
      if (schedule === undefined || job === undefined || first === undefined || first > now) return;
      const next = await readRecurrence(schedule.value);
      const due = missedOccurrences(next, first, now);
      const { overlap, payload, priority } = schedule.value;
      const runs = job.value.status === 'scheduled' || job.value.status === 'running';
      const wanted = runs ? toRun(due, now, schedule.value) : [];
      const chosen = overlap === 'skip' ? (open.length > 0 ? [] : wanted.slice(0, 1)) : wanted;
      // One that is there already was made before its schedule was set back.
      const known = await unit.findMany(
        RUNS,
        chosen.map((at) => occurrenceId(jobId, at)),
      );
      const missing = chosen.filter((_, i) => known[i] === undefined);
      const facts = { trigger: 'schedule', metadata: {}, priority, ...compact({ payload }) } as const;
      const made = missing.slice(0, mostAtOnce(newRun(job, 0, facts), host));
      const limit = job.value.maxConcurrent ?? (overlap === 'queue' ? 1 : undefined);
      const number = made.length === 0 ? 0 : await this.takeRunNumbers(unit, host, jobId, made.length);
      made.forEach((scheduledFor, i) => {
        const run = queued(newRun(job, number + i, { ...facts, scheduledFor }), limit, scheduledFor);
        this.insertRun(unit, run, {}, occurrenceId(jobId, scheduledFor));
      });
      // The next look goes on with what this batch has no room for.
      const nextRunAt = missing[made.length] ?? next(due.at(-1)!);
      const lastRunAt = made.at(-1) ?? schedule.value.lastRunAt;
      unit.replace(SCHEDULES, schedule, compact<ScheduleValue>({ ...schedule.value, nextRunAt, lastRunAt }));
    });
  }
}

/** How many of such runs one batch takes, each with its event, and their schedule beside them in the other half. */
function mostAtOnce(run: RunValue, { backend }: StoreHost): number {
  const room = backend.capabilities.maxBatchBytes / 2;
  return Math.max(Math.floor(room / (jsonBytes(run) + EVENT_BYTES)), 1);
}

/** A copy: of what the claim gave, the ends of runs are written. */
export function claimedRun({ tenant, id, version, createdAt, updatedAt, value }: TenantRecord<RunValue>): ClaimedRun {
  const { payload, metadata, checkpoint } = value;
  const run = { id, tenantId: tenant, version, createdAt, updatedAt, ...value, metadata: copyJson(metadata) };
  if (payload !== undefined) run.payload = copyJson(payload);
  if (checkpoint !== undefined) run.checkpoint = { ...checkpoint, state: copyJson(checkpoint.state) };
  return run as ClaimedRun;
}
