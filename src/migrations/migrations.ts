/** The host's versioned steps on one database: what has run, running what has not, taking back what has. */
import type { Clock } from '../clock.js';
import { LIBRARY } from '../collection/library.js';
import { runOperation } from '../collection/host.js';
import type { CallOptions, OperationContext } from '../component.js';
import {
  foreignErrorName,
  invalid,
  isControlStatementError,
  isSerializationFailure,
  isStorageError,
  StorageError,
  UnsupportedError,
} from '../errors.js';
import type { SqlPool } from '../pools/pool.js';
import { MIGRATIONS, readApplied, stepKey, type AppliedStep } from './records.js';
import { MigrationLock, type MigrationHost } from './lock.js';
import { checkSteps, type CheckedStep, type StepWork } from './steps.js';
import { checkMigrateOptions, type MigrateOptions } from './options.js';
import { Patience } from './patience.js';
import { planDown, planUp, statusOf, type StepStatus } from './plan.js';
import { runScript } from './script.js';

export interface MigrateReport {
  readonly dryRun: boolean;
  /** In the order in which they ran, or would have run. */
  readonly steps: readonly { readonly version: number; readonly name: string; readonly duration?: number }[];
}

const STEP_TIMEOUT = 600_000;
const WAIT = 300_000;

export class Migrations<Tx> {
  private readonly steps: readonly CheckedStep<Tx>[];
  private readonly sql: SqlPool | undefined;
  private readonly clock: Clock;

  /** @throws `VALIDATION` for malformed steps, `UNSUPPORTED` for steps that the database cannot run. */
  constructor(
    private readonly host: MigrationHost<Tx>,
    steps: unknown,
  ) {
    this.steps = checkSteps<Tx>(steps);
    const { backend, clock } = host.records;
    this.clock = clock;
    this.sql = 'script' in backend.pool ? (backend.pool as SqlPool) : undefined;
    if (this.steps.length > 0 && backend.capabilities.transactions === 'none')
      throw new UnsupportedError(`${backend.name} has no transactions: a step could be left half done`, {
        operation: 'migrations',
      });
    const sql = this.steps.find(({ up, down }) => typeof up === 'string' || typeof down === 'string');
    if (sql !== undefined && this.sql === undefined)
      throw new UnsupportedError(
        `${backend.name} does not speak SQL: the step ${sql.version} (${sql.name}) must be a function`,
        {
          operation: 'migrations',
          details: { version: sql.version, name: sql.name },
        },
      );
  }

  /** Every step of the host and of the database, by version. Throws nothing for steps that do not agree: it shows them. */
  async status(options?: CallOptions): Promise<StepStatus[]> {
    checkMigrateOptions(options, 'status');
    return statusOf(this.steps, await this.applied(options));
  }

  /**
   * Runs the steps that have not run, up to and with the version `to` (default: all), each in one transaction with its
   * record. Safe in many processes at once: one runs them, the others wait and find them done.
   * @throws `MIGRATION` for an applied step that was changed, renamed or removed, and for a step that fails
   * (`details.version`, `details.name`, `cause`): that one is rolled back, those before it stay. `TIMEOUT` after `wait`.
   */
  async up(options: MigrateOptions & { readonly to?: number | undefined } = {}): Promise<MigrateReport> {
    checkMigrateOptions(options, 'run');
    checkTarget(options.to, this.steps, false);
    return this.run(options, (applied) => planUp(this.steps, applied, options.to), 'up');
  }

  /**
   * Takes back the applied steps above the version `to` (0: all), the last first, each in one transaction with its record.
   * @throws `MIGRATION` as `up`, and before anything runs when one of the steps has no `down`.
   */
  async down(options: MigrateOptions & { readonly to: number }): Promise<MigrateReport> {
    checkMigrateOptions(options, 'run');
    if (options?.to === undefined) throw invalid('to', undefined, 'the version to go back to, 0 for none');
    checkTarget(options.to, this.steps, true);
    return this.run(options, (applied) => planDown(this.steps, applied, options.to), 'down');
  }

  private async run(
    options: MigrateOptions,
    plan: (applied: readonly AppliedStep[]) => readonly CheckedStep<Tx>[],
    direction: 'up' | 'down',
  ): Promise<MigrateReport> {
    const { signal, wait = WAIT } = options;
    if (typeof wait !== 'number' || !(wait >= 0)) throw invalid('wait', wait, 'a number of milliseconds, 0 or more');
    const callOptions = signal === undefined ? undefined : { signal };
    const patience = new Patience(this.host.records, wait, signal);
    const planned = plan(await patience.run(() => this.applied(callOptions)));
    const named = planned.map(({ version, name }) => ({ version, name }));
    if (options.dryRun === true) return { dryRun: true, steps: named };
    if (planned.length === 0) return { dryRun: false, steps: [] };
    const lock = await MigrationLock.acquire(this.host, patience, signal);
    try {
      // Again, now that nobody else changes them.
      const steps = plan(await this.applied(callOptions));
      const done: { version: number; name: string; duration: number }[] = [];
      for (const step of steps) {
        const duration = await this.runStep(step, direction, lock, options);
        done.push({ version: step.version, name: step.name, duration });
      }
      return { dryRun: false, steps: done };
    } finally {
      await lock.release();
    }
  }

  private async runStep(
    step: CheckedStep<Tx>,
    direction: 'up' | 'down',
    lock: MigrationLock,
    { timeout = STEP_TIMEOUT, signal }: MigrateOptions,
  ): Promise<number> {
    let runs = 0;
    try {
      return await this.host.transaction(
        async (tx, attempt) => {
          runs++;
          const started = this.clock.monotonic();
          const context = attempt.context('migrate');
          await lock.hold(context);
          await this.work(step[direction]!, tx, context);
          // Calls that the step did not await are refused before it is noted as done.
          await attempt.finish();
          const after = { ...context, now: this.clock.now() };
          const duration = Math.round(this.clock.monotonic() - started);
          await this.note(step, direction, duration, after);
          await lock.renew(after);
          return duration;
        },
        signal === undefined ? { timeout } : { timeout, signal },
      );
    } catch (error) {
      if (isStorageError(error, 'CLOSED') || isStorageError(error, 'ABORTED') || isLockLost(error)) throw error;
      throw stepFailure(step, direction, error, runs);
    }
  }

  private async work(work: StepWork<Tx>, tx: Tx, context: OperationContext): Promise<void> {
    if (typeof work === 'string') await runScript(this.sql!, work, context);
    else await work(tx);
  }

  private async note(
    { version, name, checksum }: CheckedStep<Tx>,
    direction: 'up' | 'down',
    duration: number,
    context: OperationContext,
  ): Promise<void> {
    const value = { kind: 'step', step: version, name, checksum, appliedAt: context.now.toISOString(), duration };
    const key = stepKey(version);
    const write =
      direction === 'up' ? ({ ...key, kind: 'insert', value } as const) : ({ ...key, kind: 'delete' } as const);
    const [result] = await this.host.records.backend.write(LIBRARY, [write], context);
    if (result?.status !== 'written' && result?.status !== 'deleted')
      throw new StorageError('MIGRATION', `The step ${version} (${name}) was run ${direction} by another process`, {
        details: { version, name, reason: 'lock-lost' },
      });
  }

  private applied(options: CallOptions | undefined): Promise<AppliedStep[]> {
    const { records } = this.host;
    return runOperation(records, [MIGRATIONS], 'migrations', options, (context) =>
      readApplied(records.backend, context),
    );
  }
}

function isLockLost(error: unknown): boolean {
  return isStorageError(error, 'MIGRATION') && error.details['reason'] === 'lock-lost';
}

function checkTarget(to: unknown, steps: readonly { readonly version: number }[], zero: boolean): void {
  if (to === undefined || (zero && to === 0)) return;
  if (!steps.some(({ version }) => version === to))
    throw invalid('to', to, `the version of a step${zero ? ', or 0 for none' : ''}`);
}

const OUTCOMES = {
  failed: 'failed and was rolled back',
  'outcome-unknown': 'ended, but whether it was committed is not known',
  'transaction-ended': 'ended its transaction itself: what it did before that may have stayed, and it is not noted',
};

/** @param runs of the step's function: after a conflict it begins anew */
function stepFailure(
  step: { version: number; name: string },
  direction: 'up' | 'down',
  cause: unknown,
  runs: number,
): StorageError {
  const { version, name } = step;
  const code = isStorageError(cause) ? cause.code : undefined;
  const reason =
    code === 'OUTCOME_UNKNOWN' ? 'outcome-unknown' : isControlStatementError(cause) ? 'transaction-ended' : 'failed';
  const outcome = isSerializationFailure(cause) ? beaten(runs) : OUTCOMES[reason];
  return new StorageError(
    'MIGRATION',
    `The step ${version} (${name}), run ${direction}, ${outcome} (${reasonOf(cause)})`,
    {
      operation: 'migrate',
      details: { version, name, direction, reason, runs, ...(code && { code }) },
      cause,
      isHostCause: isOfHost(cause),
    },
  );
}

function beaten(runs: number): string {
  const each = runs === 1 ? 'its one run' : `each of its ${runs} runs`;
  return `was rolled back: ${each} lost against other writers, whose records it changes or reads; what fills a table that is being written belongs outside of a step, in batches`;
}

/** What the function of a step threw by itself. A driver's error has a code, and may hold its connection string. */
function isOfHost(cause: unknown): cause is Error {
  return cause instanceof Error && !isStorageError(cause) && (cause as { code?: unknown }).code === undefined;
}

function reasonOf(cause: unknown): string {
  if (isStorageError(cause)) return `${cause.code}: ${cause.message}`;
  return isOfHost(cause) ? `${cause.name}: ${cause.message}` : foreignErrorName(cause);
}
