/** The runs that a worker holds, and the writing of their ends: those that end together are written together. */
import type { Clock, Timer } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import type { LazyAbort } from '../../unit-of-work/lazy-abort.js';
import { inBatches } from './batches.js';
import type { TenantRecord } from './claim.js';
import type { ClaimedRun } from './claim-operations.js';
import type { HeldEnd } from './lease-operations.js';
import type { Checkpoint, RunValue } from './records.js';
import { endBytes, runBytes, type RunEnd, type RunRecord } from './run-ends.js';
import { WorkQueue } from './work-queue.js';

/** What the worker wants of the store. */
export interface WorkerStore {
  claim(limit: number, context: OperationContext): Promise<TenantRecord<RunValue>[]>;
  end(tenant: string, ends: readonly HeldEnd[]): Promise<ReadonlyMap<string, RunRecord>>;
  extend(tenant: string, runs: readonly RunRecord[]): Promise<ReadonlyMap<string, RunRecord>>;
  checkpoint(tenant: string, id: string, token: number, checkpoint: Checkpoint): Promise<RunRecord>;
  operate<R>(work: (context: OperationContext) => Promise<R>, signal: AbortSignal): Promise<R>;
  claimed(run: TenantRecord<RunValue>): ClaimedRun;
}

/** A run from its claim until its end is written. */
export interface Holding {
  run: TenantRecord<RunValue>;
  readonly abort: LazyAbort;
  /** When its lease was given, by the monotonic clock. */
  renewed: number;
  /** Since when its lease is to be extended, by the same clock; absent: it was. */
  extendSince?: number | undefined;
  end?: RunEnd;
}

export type Failure = RunEnd & { readonly kind: 'failed' };

/** Ends of runs that one write takes. */
const ENDS = 200;
/** Tenants whose runs are written at once. */
export const TENANTS_AT_ONCE = 8;

/** What the worker is told of its runs. */
export interface HeldRunsListener {
  /** It holds one run less, or none. */
  dropped(): void;
  failed(run: TenantRecord<RunValue>, end: Failure): void;
  fault(error: unknown): void;
}

export class HeldRuns {
  readonly counts = { succeeded: 0, failed: 0, lost: 0 };
  private readonly all = new Map<string, Holding>();
  /** Those whose ends are to be written, by tenant: a tenant that is here is being written. */
  private readonly over = new Map<string, Set<Holding>>();
  private readonly writing = new WorkQueue(TENANTS_AT_ONCE);
  /** Until ends are tried again. */
  private readonly retries = new Set<Timer>();

  constructor(
    private readonly store: Pick<WorkerStore, 'end'>,
    private readonly clock: Clock,
    private readonly leaseSeconds: number,
    private readonly tell: HeldRunsListener,
  ) {}

  get size(): number {
    return this.all.size;
  }

  /** Those whose handlers run, and those whose ends are not written yet. */
  holdings(): Iterable<Holding> {
    return this.all.values();
  }

  holds(holding: Holding): boolean {
    return this.all.get(holding.run.id) === holding;
  }

  add(holding: Holding): void {
    const before = this.all.get(holding.run.id);
    if (before !== undefined) this.lose(before, 'It was claimed again');
    this.all.set(holding.run.id, holding);
  }

  /** Leaves them to their leases. */
  forget(): void {
    this.all.clear();
    this.over.clear();
    for (const retry of this.retries) retry.cancel();
    this.retries.clear();
    this.tell.dropped();
  }

  /** Leaves the end to be written; the first one of a run counts. */
  settle(holding: Holding, end: RunEnd, aborting?: StorageError): void {
    if (holding.end !== undefined) return;
    holding.end = end;
    if (aborting !== undefined) holding.abort.abort(aborting);
    const { id, tenant } = holding.run;
    if (this.all.get(id) !== holding) return;
    const others = this.over.get(tenant);
    if (others !== undefined) return void others.add(holding);
    this.over.set(tenant, new Set([holding]));
    this.writeNext(tenant);
  }

  /** Another may have the run: nothing is written of it. */
  lose(holding: Holding, why: string): void {
    if (holding.end === undefined) {
      holding.end = { kind: 'expired' };
      holding.abort.abort(new StorageError('LEASE_LOST', why, { operation: 'jobs.work' }));
    }
    this.drop(holding, undefined);
  }

  isLate({ renewed }: Holding): boolean {
    return this.clock.monotonic() - renewed >= this.leaseSeconds * 1_000;
  }

  /**
   * Writes the ends of a tenant, while others come. Those that cannot be written now are tried again until the database
   * answers, also after their leases: the work is done, and their tokens tell whether another has the run.
   */
  private writeNext(tenant: string, failures = 0): void {
    this.writing.add(async () => {
      // Handlers that end together are written together.
      await new Promise((resolve) => setImmediate(resolve));
      const over = [...(this.over.get(tenant) ?? [])];
      const [batch] = inBatches(over, ENDS, ({ run, end }) => runBytes(run) + endBytes(end!));
      if (batch === undefined) return void this.over.delete(tenant);
      if (await this.isWritten(tenant, batch)) return this.writeNext(tenant);
      // Unless they were forgotten meanwhile.
      if (this.over.has(tenant)) this.retryNext(tenant, failures + 1);
    });
  }

  private retryNext(tenant: string, failures: number): void {
    const retry = this.clock.after(Math.min(100 * 2 ** failures, 5_000), () => {
      this.retries.delete(retry);
      this.writeNext(tenant, failures);
    });
    this.retries.add(retry);
  }

  /** @returns whether there is nothing to try again */
  private async isWritten(tenant: string, batch: readonly Holding[]): Promise<boolean> {
    try {
      const written = await this.store.end(
        tenant,
        batch.map(({ run, end }) => ({ run, end: end! })),
      );
      for (const holding of batch) this.drop(holding, written.get(holding.run.id));
    } catch (error) {
      this.tell.fault(error);
      if (isStorageError(error) && (error.retryable || error.code === 'OUTCOME_UNKNOWN')) return false;
      // Together none of them was written; the one that cannot be is left to its lease.
      if (batch.length === 1) this.drop(batch[0]!, undefined);
      else for (const holding of batch) if (!(await this.isWritten(tenant, [holding]))) return false;
    }
    return true;
  }

  /** @param written the run as its end has left it; absent: it was lost */
  private drop(holding: Holding, written: RunRecord | undefined): void {
    const { id, tenant } = holding.run;
    this.over.get(tenant)?.delete(holding);
    if (this.all.get(id) !== holding) return;
    this.all.delete(id);
    const end = holding.end!;
    if (written === undefined) this.counts.lost++;
    else if (end.kind === 'succeeded') this.counts.succeeded++;
    else if (end.kind === 'failed') {
      this.counts.failed++;
      this.tell.failed({ ...written, tenant }, end);
    }
    this.tell.dropped();
  }
}
