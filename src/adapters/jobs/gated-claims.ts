/** Claims of runs behind limits: each tenant's by decisions. Whom a limit holds back is looked at once, not by every claim. */
import type { CallOptions, OperationContext } from '../../component.js';
import { foreignErrorName, isStorageError, StorageError } from '../../errors.js';
import { groupBy } from '../../collection/group-by.js';
import { inBatches } from './batches.js';
import {
  findDue,
  findEverywhere,
  inOrder,
  ofJobs,
  ORDER,
  type Backlog,
  type Taking,
  type TenantRecord,
} from './claim.js';
import { Gate, laneOf, startOrPark, TENANT_GATE, type Gates } from './gates.js';
import { LeaseOperations } from './lease-operations.js';
import { runBytes, type RunRecord } from './run-ends.js';
import { GATES, RUNS, type RunValue } from './records.js';

/** Looks for runs that may begin; each one looks further. */
const ROUNDS = 5;
const FURTHER = 10;
const FURTHEST = 1_000;
/** Runs of one decision: each may write its run and its job's gate. */
const AT_ONCE = 300;

type Starting = Omit<Taking, 'limit'>;

export abstract class GatedClaims extends LeaseOperations {
  /** Those who wait at gates and those who come to them are first in turn. */
  private waitingFirst = false;
  protected readonly backlog: Backlog = new Set();

  /**
   * What is taken, and what `more` takes. What is taken is held by its claimer, who must learn of it: where `more` fails, that
   * is told, and met again by the next claim.
   */
  protected async andMore(
    taken: TenantRecord<RunValue>[],
    more: (taken: TenantRecord<RunValue>[]) => Promise<unknown>,
  ): Promise<TenantRecord<RunValue>[]> {
    try {
      await more(taken);
    } catch (error) {
      if (taken.length === 0) throw error;
      // Its caller wanted it to end.
      if (!isStorageError(error, 'ABORTED')) this.host.report(claimFault(error));
    }
    return taken;
  }

  /** For a decision that is a part of an operation: it is given no more time than the whole has left. */
  protected restOf({ signal, deadline }: OperationContext): CallOptions {
    // None that has passed: it is refused as one that took too long, not as one of a wrong kind.
    return { signal, timeout: Math.max(deadline - this.host.clock.monotonic(), 0.001) };
  }

  protected claimGated(
    taking: Taking,
    tenantLimit: number,
    context: OperationContext,
  ): Promise<TenantRecord<RunValue>[]> {
    return this.andMore([], (taken) => this.takeGated(taken, taking, tenantLimit, context));
  }

  /** What cannot be written of one record or tenant must not hold up the others, and every claim. */
  protected async apart(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isStorageError(error) || !['VALIDATION', 'CONFLICT', 'NOT_FOUND'].includes(error.code)) throw error;
      this.host.report(error);
    }
  }

  private async takeGated(
    taken: TenantRecord<RunValue>[],
    { limit, ...taking }: Taking,
    tenantLimit: number,
    context: OperationContext,
  ): Promise<void> {
    const { backend } = this.host;
    const queues = tenantLimit > 0 ? (['open', 'gated'] as const) : (['gated'] as const);
    const { jobs } = taking;
    const named = jobs && [{ jobName: { $in: jobs } }, { jobName: { $exists: false } }];
    const free = { waiting: true, room: true, ...(named && { $or: named }) };
    for (let round = 0, page = limit; round < ROUNDS && taken.length < limit; round++) {
      const [due, gates] = await Promise.all([
        Promise.all(queues.map((queue) => findDue(backend, queue, jobs, page, this.backlog, context))),
        findEverywhere(backend, GATES, free, { updatedAt: 'asc' }, page, context),
      ]);
      const runs = due.flat().sort(inOrder).slice(0, page);
      const begin = async (tenant: string, decide: (store: this, room: number) => Promise<RunRecord[]>) => {
        const room = limit - taken.length;
        if (room === 0) return;
        await this.apart(async () => {
          const started = await unlessTaken(decide(this.at(this.host.of(tenant)), room));
          for (const run of started) taken.push({ ...run, tenant });
        });
      };
      const startDue = async (): Promise<void> => {
        for (const [tenant, all] of groupBy(runs, ({ tenant }) => tenant))
          for (const some of inBatches(all, AT_ONCE, runBytes))
            await begin(tenant, (store, room) => store.startDue(some, room, taking, tenantLimit, context));
      };
      const startWaiting = async (): Promise<void> => {
        for (const { tenant, id } of gates)
          await begin(tenant, (store, room) => store.startWaiting(id, room, taking, tenantLimit, context));
      };
      this.waitingFirst = !this.waitingFirst;
      for (const start of this.waitingFirst ? [startWaiting, startDue] : [startDue, startWaiting]) await start();
      if (runs.length < page && gates.length < page) break;
      page = Math.min(page * FURTHER, FURTHEST);
    }
  }

  /** Starts up to `room` of the runs, which are due; those before the last of them that may not begin leave the queue. */
  protected startDue(
    due: readonly TenantRecord<RunValue>[],
    room: number,
    taking: Starting,
    tenantLimit: number,
    context: OperationContext,
  ): Promise<RunRecord[]> {
    const { now } = context;
    const jobIds = [...new Set(due.flatMap(({ value }) => (value.limit === undefined ? [] : [value.jobId])))];
    const gateIds = [...jobIds, ...(tenantLimit > 0 ? [TENANT_GATE] : [])];
    const ids = due.map(({ id }) => id);
    return this.change('claimDue', this.restOf(context), async (unit) => {
      const [found, runs] = await Promise.all([unit.findMany(GATES, gateIds), unit.findMany(RUNS, ids)]);
      const all = new Map(gateIds.map((id, i) => [id, new Gate(id, found[i])]));
      const gates = gatesOf(all, all.get(TENANT_GATE), tenantLimit);
      const started: RunRecord[] = [];
      for (const run of runs) {
        if (started.length === room) break;
        if (run === undefined || (run.value.queue !== 'gated' && run.value.queue !== 'open')) continue;
        // Another took it meanwhile, and failed: it waits again.
        if (run.value.dueAt === undefined || run.value.dueAt > now) continue;
        const next = startOrPark(unit, run, gates, taking, now);
        if (next !== undefined) started.push(next);
      }
      for (const gate of all.values()) gate.write(unit);
      return started;
    });
  }

  /** Starts up to `room` of the runs that wait at a gate. */
  protected startWaiting(
    gateId: string,
    room: number,
    taking: Starting,
    tenantLimit: number,
    context: OperationContext,
  ): Promise<RunRecord[]> {
    const { now } = context;
    const most = Math.min(room, AT_ONCE);
    return this.change('claimDue', this.restOf(context), async (unit) => {
      // The gate before those who wait: whoever comes to it meanwhile makes this decided again.
      const record = await unit.find(GATES, gateId);
      if (record?.value.waiting !== true || !record.value.room) return [];
      const lane = { queue: laneOf(gateId, unit.tenant) };
      const [waiting, all, [tenant]] = await Promise.all([
        unit.query(RUNS, { ...lane, ...ofJobs(taking.jobs) }, { sort: ORDER, limit: most + 1 }),
        taking.jobs && unit.query(RUNS, lane, { limit: most + 1 }),
        tenantLimit > 0 && gateId !== TENANT_GATE ? unit.findMany(GATES, [TENANT_GATE]) : [],
      ]);
      const served = new Gate(gateId, record, true);
      const ofTenant = gateId === TENANT_GATE ? served : new Gate(TENANT_GATE, tenant);
      const gates = gatesOf(new Map([[gateId, served]]), ofTenant, tenantLimit);
      const [some = []] = inBatches(waiting, most, runBytes);
      const started = some.flatMap((run) => startOrPark(unit, run, gates, taking, now) ?? []);
      served.write(unit, some.length === waiting.length && waiting.length === (all ?? waiting).length);
      if (ofTenant !== served) ofTenant.write(unit);
      return started;
    });
  }
}

function gatesOf(ofJobs: ReadonlyMap<string, Gate>, tenant: Gate | undefined, limit: number): Gates {
  return tenant === undefined || limit === 0 ? { ofJobs } : { ofJobs, ofTenant: { gate: tenant, limit } };
}

function claimFault(error: unknown): StorageError {
  if (isStorageError(error)) return error;
  const message = `A claim failed when it had taken runs (${foreignErrorName(error)})`;
  return new StorageError('INTERNAL', message, { component: 'jobs', operation: 'jobs.claimDue', cause: error });
}

/** Other claims that take the same runs at the same time are not to end this one. */
async function unlessTaken(started: Promise<RunRecord[]>): Promise<RunRecord[]> {
  try {
    return await started;
  } catch (error) {
    if (isStorageError(error, 'CONFLICT')) return [];
    throw error;
  }
}
