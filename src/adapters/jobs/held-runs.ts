/** The runs that a worker holds, and the writing of their ends: those that end together are written together. */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, type StorageError } from '../../errors.js';
import type { TenantRecord } from './claim.js';
import type { ClaimedRun } from './claim-operations.js';
import type { HeldEnd } from './lease-operations.js';
import type { Checkpoint, RunValue } from './records.js';
import type { RunEnd, RunRecord } from './run-ends.js';

/** What the worker wants of the store. */
export interface WorkerStore {
  claim(limit: number, context: OperationContext): Promise<TenantRecord<RunValue>[]>;
  end(tenant: string, ends: readonly HeldEnd[]): Promise<ReadonlyMap<string, RunRecord>>;
  extend(tenant: string, runs: readonly RunRecord[]): Promise<ReadonlyMap<string, RunRecord>>;
  checkpoint(tenant: string, id: string, token: number, checkpoint: Checkpoint): Promise<void>;
  operate<R>(work: (context: OperationContext) => Promise<R>): Promise<R>;
  claimed(run: TenantRecord<RunValue>): ClaimedRun;
}

/** Tells a handler to end. Its signal is made for those that ask for it: most handlers end before anybody could want it. */
export class RunAbort {
  private controller: AbortController | undefined;
  private reason: StorageError | undefined;

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.reason !== undefined) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  abort(reason: StorageError): void {
    this.reason = reason;
    this.controller?.abort(reason);
  }
}

/** A run from its claim until its end is written. */
export interface Holding {
  run: TenantRecord<RunValue>;
  readonly abort: RunAbort;
  /** When its lease was given, by the monotonic clock. */
  renewed: number;
  end?: RunEnd;
}

export type Failure = RunEnd & { readonly kind: 'failed' };

/** Ends of runs that one write takes. */
const ENDS = 200;

export class HeldRuns {
  readonly counts = { succeeded: 0, failed: 0, lost: 0 };
  private readonly all = new Map<string, Holding>();
  private writing: Promise<void> | undefined;

  constructor(
    private readonly store: Pick<WorkerStore, 'end'>,
    private readonly clock: Clock,
    private readonly leaseSeconds: number,
    private readonly onDrop: () => void,
    private readonly onFailed: (run: TenantRecord<RunValue>, end: Failure) => void,
    private readonly onFault: (error: unknown) => void,
  ) {}

  get size(): number {
    return this.all.size;
  }

  /** Those whose handlers run. */
  running(): Holding[] {
    return [...this.all.values()].filter(({ end }) => end === undefined);
  }

  add(holding: Holding): void {
    this.all.set(holding.run.id, holding);
  }

  /** Leaves them to their leases. */
  forget(): void {
    this.all.clear();
    this.onDrop();
  }

  /** Leaves the end to be written; the first one of a run counts. */
  settle(holding: Holding, end: RunEnd, aborting?: StorageError): void {
    if (holding.end !== undefined) return;
    holding.end = end;
    if (aborting !== undefined) holding.abort.abort(aborting);
    this.writing ??= this.writeEnds().finally(() => (this.writing = undefined));
  }

  /** Writes the ends there are, while others come. Those that cannot be written are tried again until their leases are lost. */
  private async writeEnds(): Promise<void> {
    for (let failures = 0; ;) {
      // Handlers that end together are written together.
      await new Promise((resolve) => setImmediate(resolve));
      const over = [...this.all.values()].filter(({ end }) => end !== undefined);
      if (over.length === 0) return;
      const { tenant } = over[0]!.run;
      const batch = over.filter(({ run }) => run.tenant === tenant).slice(0, ENDS);
      try {
        const written = await this.store.end(
          tenant,
          batch.map(({ run, end }) => ({ run, end: end! })),
        );
        failures = 0;
        for (const holding of batch) this.drop(holding, written.get(holding.run.id));
      } catch (error) {
        this.onFault(error);
        if (isStorageError(error) && !error.retryable && error.code !== 'OUTCOME_UNKNOWN') {
          // Together none of them was written; the one that cannot be is left to its lease.
          for (const holding of batch) await this.writeEnd(holding);
          continue;
        }
        await this.pauseWriting(++failures);
        for (const holding of batch) if (this.isLate(holding)) this.drop(holding, undefined);
      }
    }
  }

  private async writeEnd(holding: Holding): Promise<void> {
    try {
      const written = await this.store.end(holding.run.tenant, [{ run: holding.run, end: holding.end! }]);
      this.drop(holding, written.get(holding.run.id));
    } catch (error) {
      this.onFault(error);
      this.drop(holding, undefined);
    }
  }

  /** @param written the run as its end has left it; absent: it was lost */
  private drop(holding: Holding, written: RunRecord | undefined): void {
    this.all.delete(holding.run.id);
    const end = holding.end!;
    if (written === undefined) this.counts.lost++;
    else if (end.kind === 'succeeded') this.counts.succeeded++;
    else if (end.kind === 'failed') {
      this.counts.failed++;
      this.onFailed({ ...written, tenant: holding.run.tenant }, end);
    }
    this.onDrop();
  }

  private isLate({ renewed }: Holding): boolean {
    return this.clock.monotonic() - renewed > this.leaseSeconds * 1_000;
  }

  private pauseWriting(failures: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(Math.min(100 * 2 ** failures, 5_000), resolve));
  }
}
