/** Extends the leases of the runs that a worker holds, at its own pace: whatever else the worker waits for, they are kept. */
import type { Clock, Timer } from '../../clock.js';
import { groupBy } from '../../collection/group-by.js';
import { StorageError } from '../../errors.js';
import { inBatches } from './batches.js';
import type { HeldRuns, Holding, WorkerStore } from './held-runs.js';
import { runBytes } from './run-ends.js';

/** Of one tenant: an extension may write two records, and they are one batch. */
const EXTENDED_AT_ONCE = 200;
/** Looks in the time of a lease, which is extended when a third of it is over. */
const LOOKS = 12;

export class LeaseExtension {
  private timer: Timer | undefined;
  private ended = false;

  constructor(
    private readonly held: HeldRuns,
    private readonly store: Pick<WorkerStore, 'extend'>,
    private readonly clock: Clock,
    private readonly leaseSeconds: number,
    private readonly onFault: (error: unknown) => void,
    private readonly onSuccess: () => void,
  ) {
    this.wait();
  }

  end(): void {
    this.ended = true;
    this.timer?.cancel();
  }

  private wait(): void {
    if (this.ended) return;
    const look = (): void => void this.extendLeases().then(() => this.wait());
    this.timer = this.clock.after((this.leaseSeconds * 1_000) / LOOKS, look);
  }

  /** Extends the leases of which a third is over, and learns which runs are to end. */
  private async extendLeases(): Promise<void> {
    const { clock } = this;
    const age = (this.leaseSeconds * 1_000) / 3;
    const old = this.held.running().filter(({ renewed }) => clock.monotonic() - renewed >= age);
    const some = [...groupBy(old, ({ run }) => run.tenant)].flatMap(([tenant, all]) =>
      [...inBatches(all, EXTENDED_AT_ONCE, ({ run }) => runBytes(run))].map((holdings) => ({ tenant, holdings })),
    );
    for (const { tenant, holdings } of some)
      try {
        await this.extendSome(tenant, holdings);
        this.onSuccess();
      } catch (error) {
        // Those of the others are to be kept all the same.
        this.onFault(error);
      }
  }

  private async extendSome(tenant: string, some: readonly Holding[]): Promise<void> {
    const begun = this.clock.monotonic();
    const kept = await this.store.extend(
      tenant,
      some.map((holding) => holding.run),
    );
    for (const holding of some) {
      const run = kept.get(holding.run.id);
      if (holding.end !== undefined) continue;
      if (run === undefined) {
        this.held.settle(holding, { kind: 'released' }, new StorageError('LEASE_LOST', 'Another took the run over'));
        continue;
      }
      holding.run = { ...run, tenant };
      holding.renewed = begun;
      if (run.value.cancelRequestedAt === undefined) continue;
      const error = new StorageError('ABORTED', 'The run was cancelled', { operation: 'jobs.work' });
      this.held.settle(holding, { kind: 'failed', error: 'cancelled', retryable: false, cause: error }, error);
    }
  }
}
