/** The loop of a worker: claims runs that are due, handles them side by side, and keeps their leases until they end. */
import type { AdmittedCall } from '../../component.js';
import { isStorageError, StorageError, TimeoutError } from '../../errors.js';
import { LoopPause } from '../../unit-of-work/loop-pause.js';
import { OngoingFault } from '../../unit-of-work/ongoing-fault.js';
import { tellHost } from '../../unit-of-work/relay/faults.js';
import { LazyAbort } from '../../unit-of-work/lazy-abort.js';
import { StopDeadline } from '../../unit-of-work/stop-deadline.js';
import type { StoreHost } from '../host.js';
import { readStop } from './arguments.js';
import { outcome, type JobWorkerStatus, type RunContext, type RunFailure, type RunHandler } from './handler.js';
import type { TenantRecord } from './claim.js';
import { HeldRuns, type Failure, type Holding, type WorkerStore } from './held-runs.js';
import { LeaseExtension } from './lease-extension.js';
import type { Checkpoint, RunValue } from './records.js';
import { deadRun, unkeptResult } from './run-ends.js';

export interface WorkerSettings {
  readonly workerId: string;
  readonly concurrency: number;
  readonly leaseSeconds: number;
  readonly poll: number;
  readonly onFailure: ((failure: RunFailure) => void) | undefined;
}

/** The longest wait between looks while the database cannot be reached. */
const LONGEST_WAIT = 10_000;
/** What this process tells of runs that may be claimed now. */
const WAKING = ['job.run', 'job.run_retrying', 'job.run_released', 'job.schedule_changed'];

export class JobWorker {
  private readonly held: HeldRuns;
  private readonly cleanUp: (() => void)[] = [];
  private readonly loopEnded: Promise<void>;
  private stopping = false;
  private ended = false;
  private stopped: Promise<void> | undefined;
  private readonly deadline: StopDeadline;
  /** Gives up a claim that the database has not answered. */
  private readonly abandon = new AbortController();
  private readonly pauses: LoopPause;
  /** Whether the last claim took all that it could hold. */
  private isBehind = false;
  private readonly ongoing: OngoingFault;
  private readonly extending: OngoingFault;
  private readonly extension: LeaseExtension;
  private readonly admitted: AdmittedCall;

  constructor(
    private readonly host: StoreHost,
    private readonly store: WorkerStore,
    private readonly handler: RunHandler,
    private readonly settings: WorkerSettings,
  ) {
    this.admitted = host.beginLoop((time) => this.stop({ deadline: time }));
    this.pauses = new LoopPause(host.clock);
    this.ongoing = new OngoingFault((error) => host.report(error), 'jobs.work', "A worker's look");
    this.extending = new OngoingFault((error) => host.report(error), 'jobs.work', 'The extension of leases');
    this.held = new HeldRuns(store, host.clock, settings.leaseSeconds, {
      dropped: () => this.pauses.wake(),
      failed: (run, end) => this.tell(run, end),
      fault: (error) => this.fault(error),
    });
    this.extension = new LeaseExtension(this.held, store, host.clock, settings.leaseSeconds, {
      fault: (error) => this.fault(error, this.extending),
      success: () => this.extending.end(),
      ended: (run) => this.tellExpired(run),
    });
    const giveUp = (): void => {
      for (const holding of this.held.holdings()) this.held.settle(holding, { kind: 'released' }, stopError());
    };
    this.deadline = new StopDeadline(host.clock, giveUp, () => {
      this.held.forget();
      this.abandon.abort(stopError());
    });
    for (const type of WAKING) this.cleanUp.push(host.events.watch(type, () => this.pauses.wake()));
    this.loopEnded = this.admitted.run(() => this.loop());
  }

  status(): JobWorkerStatus {
    const state = this.ended ? 'stopped' : this.stopping ? 'stopping' : 'running';
    return { workerId: this.settings.workerId, state, inFlight: this.held.size, ...this.held.counts };
  }

  /**
   * Claims nothing more and waits for the runs in flight. Those that take longer than `deadline` (milliseconds, default
   * 10,000) are aborted and given back, due at once; those that cannot be given back within a second are left to their leases.
   * Called again, the shorter deadline counts.
   */
  stop(options: { readonly deadline?: number | undefined } = {}): Promise<void> {
    const { deadline } = readStop(options, 'options');
    this.stopped ??= this.finish();
    // What it gives up is given back as a step of it.
    this.admitted.run(() => this.deadline.in(deadline));
    return this.stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  toJSON(): JobWorkerStatus {
    return this.status();
  }

  private async finish(): Promise<void> {
    this.stopping = true;
    this.pauses.wake();
    await this.loopEnded;
    this.deadline.end();
    this.extension.stop();
    this.cleanUp.forEach((undo) => undo());
    this.admitted.end();
    this.ended = true;
  }

  private async loop(): Promise<void> {
    let failures = 0;
    while (!this.stopping || this.held.size > 0) {
      this.pauses.look();
      let more = false;
      try {
        more = this.stopping ? false : await this.claim();
        failures = 0;
        this.ongoing.end();
      } catch (error) {
        failures++;
        if (!this.abandon.signal.aborted) this.fault(error);
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
    const runs = await this.store.operate((context) => this.store.claim(free, context), this.abandon.signal);
    for (const run of runs) this.handle({ run, abort: new LazyAbort(), renewed: begun });
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
      checkpoint: async (checkpoint) => {
        const { tenant, id, value } = run;
        const written = await this.store.checkpoint(tenant, id, value.token, checkpoint as Checkpoint);
        // Its end is written from what is known of it; an extension may have written it since.
        if (written.version > holding.run.version) holding.run = { ...written, tenant };
      },
    };
    const onUnkept = (why: unknown): void => {
      // One that was cut has ended already, and otherwise.
      if (holding.end === undefined) this.host.report(unkeptResult(run, why));
    };
    void outcome(this.handler, this.store.claimed(run), context, onUnkept).then((end) => {
      timer?.cancel();
      this.held.settle(holding, end);
    });
  }

  private tell(run: TenantRecord<RunValue>, { cause: error }: Failure): void {
    const { onFailure } = this.settings;
    const dead = run.value.status !== 'scheduled';
    if (onFailure !== undefined) tellHost(onFailure, { run: this.store.claimed(run), error, dead });
    else if (run.value.dead === true) this.host.report(deadRun(run, error));
  }

  private tellExpired(run: TenantRecord<RunValue>): void {
    if (run.value.dead !== true) return;
    const lost = new StorageError('LEASE_LOST', 'The lease of its last attempt could not be extended in time');
    this.host.report(deadRun(run, lost));
  }

  private fault(error: unknown, ongoing = this.ongoing): void {
    if (isStorageError(error, 'CLOSED')) {
      void this.stop({ deadline: 0 });
      // Nothing can be written any more: what is held is left to its leases.
      this.held.forget();
      return;
    }
    ongoing.tell(error);
  }

  private delay(failures: number): number {
    const { poll } = this.settings;
    if (failures === 0) return poll * (0.5 + Math.random());
    const pause = Math.min(poll * 2 ** Math.min(failures, 10), Math.max(poll, LONGEST_WAIT));
    return pause * (0.5 + Math.random() / 2);
  }
}

function stopError(): StorageError {
  return new StorageError('ABORTED', 'The worker stops', { operation: 'jobs.work' });
}
