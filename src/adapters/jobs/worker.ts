/** The loop of a worker: claims runs that are due, handles them side by side, and keeps their leases until they end. */
import { isStorageError, StorageError, TimeoutError } from '../../errors.js';
import { groupBy } from '../../collection/group-by.js';
import { LoopPause } from '../../unit-of-work/loop-pause.js';
import { OngoingFault } from '../../unit-of-work/ongoing-fault.js';
import { tellHost } from '../../unit-of-work/relay/faults.js';
import type { StoreHost } from '../host.js';
import { readStop } from './arguments.js';
import { outcome, type JobWorkerStatus, type RunContext, type RunFailure, type RunHandler } from './handler.js';
import type { TenantRecord } from './claim.js';
import { HeldRuns, RunAbort, type Failure, type Holding, type WorkerStore } from './held-runs.js';
import type { Checkpoint, RunValue } from './records.js';
import { deadRun } from './run-ends.js';

export interface WorkerSettings {
  readonly workerId: string;
  readonly concurrency: number;
  readonly leaseSeconds: number;
  readonly poll: number;
  readonly onFailure: ((failure: RunFailure) => void) | undefined;
}

/** The longest wait between looks while the database cannot be reached. */
const LONGEST_WAIT = 60_000;
/** Of one tenant: an extension may write two records, and they are one batch. */
const EXTENDED_AT_ONCE = 200;
/** What this process tells of runs that may be claimed now. */
const WAKING = ['job.run', 'job.run_retrying', 'job.run_released', 'job.schedule_changed'];

export class JobWorker {
  private readonly held: HeldRuns;
  private readonly cleanUp: (() => void)[] = [];
  private readonly loopEnded: Promise<void>;
  private stopping = false;
  private ended = false;
  private stopped: Promise<void> | undefined;
  private readonly pauses: LoopPause;
  /** Whether the last claim took all that it could hold. */
  private isBehind = false;
  private readonly ongoing: OngoingFault;

  constructor(
    private readonly host: StoreHost,
    private readonly store: WorkerStore,
    private readonly handler: RunHandler,
    private readonly settings: WorkerSettings,
  ) {
    const onFault = (error: unknown): void => this.fault(error);
    const onFailed = (run: TenantRecord<RunValue>, end: Failure): void => this.tell(run, end);
    this.pauses = new LoopPause(host.clock);
    this.ongoing = new OngoingFault((error) => host.report(error), 'jobs.work', "A worker's look");
    this.held = new HeldRuns(store, host.clock, settings.leaseSeconds, () => this.pauses.wake(), onFailed, onFault);
    for (const type of WAKING) this.cleanUp.push(host.events.on(type, () => this.pauses.wake()));
    this.cleanUp.push(host.onClosing(() => void this.stop({ deadline: 0 })));
    this.loopEnded = this.loop();
  }

  status(): JobWorkerStatus {
    const state = this.ended ? 'stopped' : this.stopping ? 'stopping' : 'running';
    return { workerId: this.settings.workerId, state, inFlight: this.held.size, ...this.held.counts };
  }

  /**
   * Claims nothing more and waits for the runs in flight. Those that take longer than `deadline` (milliseconds, default
   * 10,000) are aborted and given back, due at once.
   */
  stop(options: { readonly deadline?: number } = {}): Promise<void> {
    const { deadline } = readStop(options, 'options');
    if (deadline === 0) this.giveUp();
    return (this.stopped ??= this.finish(deadline));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  toJSON(): JobWorkerStatus {
    return this.status();
  }

  private async finish(deadline: number): Promise<void> {
    this.stopping = true;
    this.pauses.wake();
    const timer = this.host.clock.after(deadline, () => this.giveUp());
    await this.loopEnded;
    timer.cancel();
    this.cleanUp.forEach((undo) => undo());
    this.ended = true;
  }

  private giveUp(): void {
    this.stopping = true;
    for (const holding of this.held.running()) this.held.settle(holding, { kind: 'released' }, stopError());
  }

  private async loop(): Promise<void> {
    let failures = 0;
    while (!this.stopping || this.held.size > 0) {
      this.pauses.look();
      let more = false;
      try {
        await this.extendLeases();
        more = this.stopping ? false : await this.claim();
        failures = 0;
        this.ongoing.end();
      } catch (error) {
        failures++;
        this.fault(error);
      }
      if (!more && !(this.stopping && this.held.size === 0)) await this.pauses.pause(this.delay(failures));
    }
  }

  /** @returns whether there may be more to claim at once. */
  private async claim(): Promise<boolean> {
    const { concurrency } = this.settings;
    if (this.held.size === concurrency) return false;
    if (this.isBehind) await this.pauses.gather(() => this.stopping || this.held.size <= concurrency / 2);
    if (this.stopping) return false;
    const free = concurrency - this.held.size;
    const begun = this.host.clock.monotonic();
    const runs = await this.store.operate((context) => this.store.claim(free, context));
    for (const run of runs) this.handle({ run, abort: new RunAbort(), renewed: begun });
    this.isBehind = runs.length === free;
    return this.isBehind;
  }

  private handle(holding: Holding): void {
    const { run, abort } = holding;
    this.held.add(holding);
    if (this.stopping) return this.held.settle(holding, { kind: 'released' }, stopError());
    const { timeoutSeconds } = run.value;
    const timer =
      timeoutSeconds === undefined
        ? undefined
        : this.host.clock.after(timeoutSeconds * 1_000, () => {
            const error = new TimeoutError(`The run took longer than ${timeoutSeconds} s`, { operation: 'jobs.work' });
            this.held.settle(holding, { kind: 'failed', error: 'timeout', retryable: true, cause: error }, error);
          });
    const context: RunContext = {
      get signal() {
        return abort.signal;
      },
      checkpoint: (checkpoint) => this.store.checkpoint(run.tenant, run.id, run.value.token, checkpoint as Checkpoint),
    };
    void outcome(this.handler, this.store.claimed(run), context).then((end) => {
      timer?.cancel();
      this.held.settle(holding, end);
    });
  }

  /** Extends the leases of which a third is over, and learns which runs are to end. */
  private async extendLeases(): Promise<void> {
    const { clock } = this.host;
    const age = (this.settings.leaseSeconds * 1_000) / 3;
    const old = this.held.running().filter(({ renewed }) => clock.monotonic() - renewed >= age);
    for (const [tenant, all] of groupBy(old, ({ run }) => run.tenant))
      for (let i = 0; i < all.length; i += EXTENDED_AT_ONCE)
        try {
          await this.extendSome(tenant, all.slice(i, i + EXTENDED_AT_ONCE));
        } catch (error) {
          // Those of the others are to be kept all the same.
          this.fault(error);
        }
  }

  private async extendSome(tenant: string, some: readonly Holding[]): Promise<void> {
    const begun = this.host.clock.monotonic();
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

  private tell(run: TenantRecord<RunValue>, { cause: error }: Failure): void {
    const { onFailure } = this.settings;
    const dead = run.value.status !== 'scheduled';
    if (onFailure !== undefined) tellHost(onFailure, { run: this.store.claimed(run), error, dead });
    else if (run.value.dead === true) this.host.report(deadRun(run, error));
  }

  private fault(error: unknown): void {
    if (isStorageError(error, 'CLOSED')) {
      void this.stop({ deadline: 0 });
      // Nothing can be written any more: what is held is left to its leases.
      this.held.forget();
      return;
    }
    this.ongoing.tell(error);
  }

  private delay(failures: number): number {
    const { poll, leaseSeconds } = this.settings;
    const pause = Math.min(poll * 2 ** Math.min(failures, 10), Math.max(poll, LONGEST_WAIT));
    // Leases are extended by the same loop.
    const most = this.held.size > 0 ? (leaseSeconds * 1_000) / 6 : Infinity;
    return Math.min(pause * (0.5 + Math.random()), most);
  }
}

function stopError(): StorageError {
  return new StorageError('ABORTED', 'The worker stops', { operation: 'jobs.work' });
}
