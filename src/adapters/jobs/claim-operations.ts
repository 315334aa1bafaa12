/** Claims over every tenant: leases that have ended, schedules that are due, then runs. */
import type { CallOptions, OperationContext } from '../../component.js';
import { isStorageError } from '../../errors.js';
import type { Entity } from '../store.js';
import { readClaim } from './arguments.js';
import {
  byTenant,
  claimOpen,
  findEverywhere,
  findExpired,
  findGated,
  held,
  type Taking,
  type TenantRecord,
} from './claim.js';
import { LeaseOperations } from './lease-operations.js';
import { missedOccurrences, readRecurrence, toRun } from './occurrences.js';
import { endAttempt, followRuns, isHeld, occurrenceId, type RunRecord } from './run-ends.js';
import { newRun, queued } from './run-operations.js';
import { compact, GATES, JOBS, RUNS, SCHEDULES, type RunValue, type ScheduleValue } from './records.js';

/** A run that is the claimer's until `dueAt`, under `token`; `storage.tenant(run.tenantId).jobs` takes what becomes of it. */
export type ClaimedRun = Entity<RunValue> & {
  readonly workerId: string;
  readonly startedAt: Date;
  /** When the lease ends. */
  readonly dueAt: Date;
};

export interface JobClaimOptions extends CallOptions {
  /** Who claims: kept on the run. */
  readonly workerId: string;
  /** 1 to 1,000; default 1. */
  readonly limit?: number;
  /** Default 60. */
  readonly leaseSeconds?: number;
  /** What is due is due by this time, and leases begin at it; default: now. */
  readonly now?: Date | string;
}

/** Schedules and ended leases that one claim looks after; the next one goes on. */
const LOOKED_AFTER = 100;
/** Milliseconds. */
const LOOK_AFTER_EVERY = 1_000;
const GATE = 'runs';
/** Tries to find runs whose limits let them begin. */
const ROUNDS = 5;

export abstract class ClaimOperations extends LeaseOperations {
  /** When it was looked after leases and schedules, by the monotonic clock. */
  private lookedAfter = -Infinity;

  /**
   * Takes runs that are due, of every tenant: the most urgent first, then the longest due. Before that it makes the runs of
   * schedules that are due, and takes back runs whose leases have ended. No run is held twice.
   * Only the manager's own store has it. @throws `VALIDATION`, `UNSUPPORTED`
   */
  async claimDue(options: JobClaimOptions): Promise<readonly ClaimedRun[]> {
    const { workerId, limit, leaseSeconds, now } = readClaim(options, 'options');
    this.requireAll('claimDue');
    this.require('claims', 'claimDue');
    return this.run('claimDue', options, async (own) => {
      const context = now === undefined ? own : { ...own, now };
      const taken = await this.claimLookingAfter({ workerId, limit }, leaseSeconds, context, now !== undefined);
      return taken.map(claimedRun);
    });
  }

  /** While there is enough to take, the rest is looked after once a second: a claim is one statement then. */
  protected async claimLookingAfter(
    { workerId, limit }: Pick<Taking, 'workerId' | 'limit'>,
    leaseSeconds: number,
    context: OperationContext,
    first: boolean,
  ): Promise<TenantRecord<RunValue>[]> {
    const late = this.host.clock.monotonic() - this.lookedAfter >= LOOK_AFTER_EVERY;
    if (first || late) await this.lookAfter(context);
    const taken = await this.claimSome({ workerId, limit }, leaseSeconds, context);
    if (first || late || taken.length === limit || !(await this.lookAfter(context))) return taken;
    const rest = { workerId, limit: limit - taken.length };
    return [...taken, ...(await this.claimSome(rest, leaseSeconds, context))];
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
    for (const [tenant, runs] of byTenant(expired))
      await this.apart(() => this.of(tenant).expireLeases(runs, context.now));
    for (const { tenant, id } of due) await this.apart(() => this.of(tenant).makeDueRuns(id, context.now));
    return expired.length + due.length > 0;
  }

  /** One record that cannot be read must not hold up the others, and every claim. */
  private async apart(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isStorageError(error) || !['VALIDATION', 'CONFLICT', 'NOT_FOUND'].includes(error.code)) throw error;
      this.host.report(error);
    }
  }

  private async claimSome(
    { workerId, limit }: Pick<Taking, 'workerId' | 'limit'>,
    leaseSeconds: number,
    context: OperationContext,
  ): Promise<TenantRecord<RunValue>[]> {
    const leaseUntil = new Date(context.now.getTime() + Math.ceil(leaseSeconds * 1_000));
    const { tenantConcurrency } = this.host.settings.jobs;
    const taking = { workerId, leaseUntil };
    const open = tenantConcurrency > 0 ? [] : await claimOpen(this.host.backend, { ...taking, limit }, context);
    if (open.length === limit) return open;
    return [...open, ...(await this.claimGated({ ...taking, limit: limit - open.length }, tenantConcurrency, context))];
  }

  /** Takes runs behind limits: each tenant's by a decision, which counts what is held. */
  private async claimGated(
    { limit, ...taking }: Taking,
    tenantLimit: number,
    context: OperationContext,
  ): Promise<TenantRecord<RunValue>[]> {
    const taken: TenantRecord<RunValue>[] = [];
    const passed = new Set<string>();
    const queues = tenantLimit > 0 ? (['open', 'gated'] as const) : (['gated'] as const);
    for (let round = 0; round < ROUNDS && taken.length < limit; round++) {
      const found = await findGated(this.host.backend, queues, [...passed], limit, context);
      for (const [tenant, runs] of byTenant(found)) {
        const wanted = runs.slice(0, limit - taken.length);
        if (wanted.length === 0) break;
        const started = await this.of(tenant).startGated(wanted, taking, tenantLimit, context.now);
        for (const run of started) taken.push({ ...run, tenant });
        // What did not begin is behind a limit that is reached, or another's by now.
        for (const { id, value } of wanted) if (!started.some((run) => run.id === id)) passed.add(value.jobId);
      }
      if (found.length < limit) break;
    }
    return taken;
  }

  protected startGated(
    wanted: readonly TenantRecord<RunValue>[],
    taking: Omit<Taking, 'limit'>,
    tenantLimit: number,
    now: Date,
  ): Promise<RunRecord[]> {
    const jobIds = [...new Set(wanted.map(({ value }) => value.jobId))];
    const most = Math.max(tenantLimit, ...wanted.map(({ value }) => value.limit ?? 0));
    return this.change('claimDue', {}, async (unit) => {
      // The gate before what is counted: who starts another one meanwhile makes this decided again.
      const gate = await unit.find(GATES, GATE);
      const [runs, ...counted] = await Promise.all([
        unit.findMany(
          RUNS,
          wanted.map(({ id }) => id),
        ),
        tenantLimit > 0 ? unit.query(RUNS, { status: 'running' }, { limit: Math.min(most, 1_000) }) : [],
        ...jobIds.map((jobId) => unit.query(RUNS, { jobId, status: 'running' }, { limit: Math.min(most, 1_000) })),
      ]);
      const [ofTenant, ...ofJobs] = counted;
      const counts = new Map(jobIds.map((jobId, i) => [jobId, ofJobs[i]!.length]));
      let all = ofTenant.length;
      const started = [];
      for (const run of runs) {
        if (run === undefined || (run.value.queue !== 'gated' && run.value.queue !== 'open')) continue;
        // Another took it meanwhile, and failed: it waits again.
        if (run.value.dueAt === undefined || run.value.dueAt > now) continue;
        const { jobId, limit = Infinity } = run.value;
        const count = counts.get(jobId)!;
        if (count >= limit || (tenantLimit > 0 && all >= tenantLimit)) continue;
        counts.set(jobId, count + 1);
        all++;
        started.push(unit.replace(RUNS, run, held(run.value, taking, now)));
      }
      if (started.length === 0) return started;
      const count = (gate?.value.started ?? 0) + started.length;
      if (gate === undefined) unit.insert(GATES, { started: count }, { id: GATE });
      else unit.replace(GATES, gate, { started: count });
      return started;
    });
  }

  private of(tenant: string): this {
    return this.at(this.host.of(tenant));
  }

  protected expireLeases(expired: readonly TenantRecord<RunValue>[], now: Date): Promise<void> {
    return this.change('expire', {}, async (unit) => {
      const runs = await unit.findMany(
        RUNS,
        expired.map(({ id }) => id),
      );
      const over = runs.flatMap((run, i) => {
        const isOver = isHeld(run, expired[i]!.value.token) && run.value.dueAt! <= now;
        return isOver ? [endAttempt(unit, run, { kind: 'expired' })] : [];
      });
      await followRuns(unit, over);
    });
  }

  /** Makes the runs of the occurrences that are due, and moves the schedule to the next one, in one step. */
  protected makeDueRuns(jobId: string, now: Date): Promise<void> {
    return this.change('makeDueRuns', {}, async (unit, host) => {
      const [schedule, job, open] = await Promise.all([
        unit.find(SCHEDULES, jobId),
        unit.find(JOBS, jobId),
        unit.query(RUNS, { jobId, status: { $in: ['scheduled', 'running'] } }, { limit: 1 }),
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
      const made = chosen.filter((_, i) => known[i] === undefined);
      const limit = job.value.maxConcurrent ?? (overlap === 'queue' ? 1 : undefined);
      const number = made.length === 0 ? 0 : await this.takeRunNumbers(unit, host, jobId, made.length);
      made.forEach((scheduledFor, i) => {
        const facts = { trigger: 'schedule', metadata: {}, priority, scheduledFor, ...compact({ payload }) } as const;
        const run = queued(newRun(job, number + i, facts), limit, scheduledFor);
        this.insertRun(unit, run, {}, occurrenceId(jobId, scheduledFor));
      });
      const nextRunAt = next(due.at(-1)!);
      const lastRunAt = made.at(-1) ?? schedule.value.lastRunAt;
      unit.replace(SCHEDULES, schedule, compact<ScheduleValue>({ ...schedule.value, nextRunAt, lastRunAt }));
    });
  }
}

export function claimedRun({ tenant, id, version, createdAt, updatedAt, value }: TenantRecord<RunValue>): ClaimedRun {
  return { ...value, id, tenantId: tenant, version, createdAt, updatedAt } as ClaimedRun;
}
