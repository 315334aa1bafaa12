/** Extends the leases of the runs that a worker holds, at its own pace: whatever else the worker waits for, they are kept. */
import type { Clock, Timer } from '../../clock.js';
import { groupBy } from '../../collection/group-by.js';
import { StorageError } from '../../errors.js';
import { inBatches } from './batches.js';
import type { TenantRecord } from './claim.js';
import { TENANTS_AT_ONCE, type HeldRuns, type Holding, type WorkerStore } from './held-runs.js';
import type { HeldEnd } from './lease-operations.js';
import type { RunValue } from './records.js';
import { runBytes } from './run-ends.js';
import { WorkQueue } from './work-queue.js';

/** Of one tenant: an extension may write two records, and they are one batch. */
const EXTENDED_AT_ONCE = 200;
/** Looks in the time of a lease, which is extended when a third of it is over. */
const LOOKS = 12;

/** What the worker is told of the extension. */
export interface LeaseExtensionListener {
  fault(error: unknown): void;
  success(): void;
  /** A run whose lease was extended in vain has ended. */
  ended(run: TenantRecord<RunValue>): void;
}

export class LeaseExtension {
  private timer: Timer | undefined;
  private stopped = false;
  private readonly queue = new WorkQueue(TENANTS_AT_ONCE);
  /** Of its own: a run that cannot be ended keeps no other from being extended. */
  private readonly endings = new WorkQueue(TENANTS_AT_ONCE);
  /** Those whose extension is under way. */
  private readonly asked = new Set<Holding>();

  constructor(
    private readonly held: HeldRuns,
    private readonly store: Pick<WorkerStore, 'extend' | 'end'>,
    private readonly clock: Clock,
    private readonly leaseSeconds: number,
    private readonly tell: LeaseExtensionListener,
  ) {
    this.wait();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private wait(): void {
    if (this.stopped) return;
    this.timer = this.clock.after(this.untilLook(), () => {
      this.look();
      this.wait();
    });
  }

  /** No longer than until the next lease ends: its handler hears of it before another may have the run. */
  private untilLook(): number {
    const lease = this.leaseSeconds * 1_000;
    const now = this.clock.monotonic();
    let least = lease / LOOKS;
    for (const { renewed, end } of this.held.holdings()) {
      const left = renewed + lease - now;
      if (end === undefined && left > 0) least = Math.min(least, left);
    }
    return least;
  }

  /** Extends the leases of which a third is over, and learns which runs are to end. */
  private look(): void {
    const now = this.clock.monotonic();
    const lease = this.leaseSeconds * 1_000;
    for (const holding of this.held.holdings()) {
      const { renewed, extendSince } = holding;
      // Where nobody could ask in time, since the process was frozen, the answer decides.
      if (extendSince !== undefined && extendSince < renewed + lease) this.loseLate(holding);
    }
    const isOld = (holding: Holding): boolean => now - holding.renewed >= lease / 3 && !this.asked.has(holding);
    const old = [...this.held.holdings()].filter(isOld);
    for (const [tenant, all] of groupBy(old, ({ run }) => run.tenant))
      for (const some of inBatches(all, EXTENDED_AT_ONCE, ({ run }) => runBytes(run))) {
        for (const holding of some) {
          this.asked.add(holding);
          holding.extendSince ??= now;
        }
        this.queue.add(() => this.extend(tenant, some));
      }
  }

  private async extend(tenant: string, queued: readonly Holding[]): Promise<void> {
    // Of those that were lost while they waited here nobody does the run any more.
    const some = queued.filter((holding) => this.held.holds(holding));
    let unheld: readonly HeldEnd[] = [];
    try {
      if (some.length > 0) {
        unheld = await this.extendSome(tenant, some);
        this.tell.success();
      }
    } catch (error) {
      this.tell.fault(error);
      for (const holding of some) this.loseLate(holding);
    }
    for (const holding of queued) this.asked.delete(holding);
    if (unheld.length > 0) this.endings.add(() => this.end(tenant, unheld));
  }

  private async end(tenant: string, ends: readonly HeldEnd[]): Promise<void> {
    try {
      const ended = await this.store.end(tenant, ends);
      for (const run of ended.values()) this.tell.ended({ ...run, tenant });
    } catch (error) {
      this.tell.fault(error);
    }
  }

  /** Another may have it: its handler is told, whatever the database would say. An end is written, where it is the first. */
  private loseLate(holding: Holding): void {
    if (holding.end === undefined && this.held.isLate(holding))
      this.held.lose(holding, 'The lease could not be extended in time: another may have the run');
  }

  /**
   * @returns those that were leased anew once their handlers had been told that they have them no more, with what was to become
   * of them. What a handler has ended, and could not be written, is left to the lease.
   */
  private async extendSome(tenant: string, some: readonly Holding[]): Promise<HeldEnd[]> {
    const begun = this.clock.monotonic();
    const kept = await this.store.extend(
      tenant,
      some.map((holding) => holding.run),
    );
    const unheld: HeldEnd[] = [];
    for (const holding of some) {
      const run = kept.get(holding.run.id);
      if (!this.held.holds(holding)) {
        const { end } = holding;
        if (run !== undefined && (end?.kind === 'expired' || end?.kind === 'released')) unheld.push({ run, end });
        continue;
      }
      if (run === undefined) {
        if (holding.end === undefined) this.held.lose(holding, 'Another took the run over');
        continue;
      }
      holding.run = { ...run, tenant };
      holding.renewed = begun;
      holding.extendSince = undefined;
      if (run.value.cancelRequestedAt === undefined) continue;
      const error = new StorageError('ABORTED', 'The run was cancelled', { operation: 'jobs.work' });
      this.held.settle(holding, { kind: 'failed', error: 'cancelled', retryable: false, cause: error }, error);
    }
    return unheld;
  }
}
