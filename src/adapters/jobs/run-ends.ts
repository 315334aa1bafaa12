/** How an attempt of a run ends, and what becomes of the run then. */
import { createHash } from 'node:crypto';
import type { JsonValue } from '../../backends/backend.js';
import { LIMITS } from '../../backends/limits.js';
import { jsonBytes } from '../../backends/value.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { foreignErrorName, isStorageError, StorageError } from '../../errors.js';
import type { Actor } from '../events.js';
import type { Unit } from '../unit.js';
import { RETRY } from './arguments.js';
import type { TenantRecord } from './claim.js';
import { freePlaces, type ChangedRun } from './gates.js';
import { isToCome } from './occurrences.js';
import { compact, JOBS, RUNS, SCHEDULES, type JobValue, type RunStatus, type RunValue } from './records.js';

export type RunRecord = StoredRecord<RunValue>;

export type RunEnd =
  | { readonly kind: 'succeeded'; readonly result?: JsonValue | undefined }
  | { readonly kind: 'failed'; readonly error: string; readonly retryable: boolean; readonly cause?: unknown }
  | { readonly kind: 'expired' }
  | { readonly kind: 'released' };

/** What every event of a run carries. */
export function runFacts({ id, value: { jobId, runNumber, attempt } }: RunRecord): {
  jobId: string;
  runId: string;
  runNumber: number;
  attempt: number;
} {
  return { jobId, runId: id, runNumber, attempt };
}

/** Of the run when it is written. */
export function runBytes({ value }: Pick<RunRecord, 'value'>): number {
  return jsonBytes(value);
}

/** That it adds to its run. */
export function endBytes(end: RunEnd): number {
  return end.kind === 'succeeded' && end.result !== undefined ? jsonBytes([end.result]) : 0;
}

/** Whether the run is held under the token. */
export function isHeld(run: RunRecord | undefined, token: number): run is RunRecord {
  return run !== undefined && run.value.queue === 'held' && run.value.token === token;
}

/** Whether what the token's holder wants to write is written already: its reply was lost, and it asks again. */
export function isWritten(run: RunRecord | undefined, token: number, end: RunEnd): run is RunRecord {
  if (run === undefined || run.value.token !== token || run.value.queue === 'held') return false;
  const { status, error, failedToken } = run.value;
  if (end.kind === 'succeeded') return status === 'succeeded';
  // One that was given back since has the error of an earlier attempt.
  return end.kind === 'failed' && failedToken === token && error === end.error;
}

export function leaseLost(id: string, operation: string): StorageError {
  return new StorageError('LEASE_LOST', `The run ${JSON.stringify(id)} is not, or no longer, held under this token`, {
    component: 'jobs',
    operation,
    details: { id },
  });
}

/** Writes a run with another value, and tells its start when that is not told yet. */
export function writeRun(unit: Unit, run: RunRecord, value: RunValue): RunRecord {
  if (run.value.untold === true) unit.event(run, 'run_started', { ...runFacts(run), ...startOf(run) });
  return replaceRun(unit, run, value);
}

/**
 * As `writeRun`, with an event of its own, in whose record the start is kept when that is not told yet.
 * @returns what that event's payload is to have
 */
function writeTold(unit: Unit, run: RunRecord, value: RunValue): { readonly next: RunRecord; readonly facts: object } {
  const start = run.value.untold === true ? startOf(run) : {};
  const facts = { ...runFacts(run), ...start };
  if (run.value.untold === true) unit.notice(run, 'run_started', facts);
  return { next: replaceRun(unit, run, value), facts };
}

function startOf({ value: { workerId, startedAt } }: RunRecord): object {
  return { workerId, startedAt };
}

function replaceRun(unit: Unit, run: RunRecord, { untold: _told, ...value }: RunValue): RunRecord {
  return unit.amend(RUNS, run, value);
}

/** Ends the attempt of a run that is held. @param now when it has ended @param value what is to stay of it */
export function endAttempt(unit: Unit, run: RunRecord, end: RunEnd, now = unit.now, value = run.value): RunRecord {
  const { next, facts } = writeTold(unit, run, afterAttempt(value, end, now));
  const { status, error, dueAt } = next.value;
  // The start is in the record of the first.
  const plain = end.kind === 'expired' ? runFacts(run) : facts;
  if (end.kind === 'expired') unit.event(next, 'run_lease_expired', { ...facts, workerId: run.value.workerId });
  if (status === 'scheduled' && end.kind === 'released') unit.event(next, 'run_released', plain);
  else if (status === 'scheduled') unit.event(next, 'run_retrying', { ...plain, error, dueAt });
  else unit.event(next, `run_${status}`, status === 'failed' ? { ...plain, error } : plain);
  return next;
}

/** Ends for good a run of which there is too much to be written once more: without what its makers and holders gave it. */
export function endUnwritable(unit: Unit, run: RunRecord, now: Date): RunRecord {
  const { payload: _payload, checkpoint: _checkpoint, ...value } = run.value;
  const end = { kind: 'failed', error: 'too large to be written again', retryable: false } as const;
  return endAttempt(unit, run, end, now, { ...value, metadata: {} });
}

function afterAttempt(run: RunValue, end: RunEnd, now: Date): RunValue {
  if (end.kind === 'succeeded') return succeeded(ended(run, 'succeeded', now), end.result);
  const failed = { ...run, ...failureOf(run, end) };
  if (run.cancelRequestedAt !== undefined) return ended(failed, 'cancelled', now);
  if (end.kind === 'released') return waiting({ ...run, attempt: run.attempt - 1 }, now);
  const isLast = run.attempt >= (run.retry ?? RETRY).maxAttempts || (end.kind === 'failed' && !end.retryable);
  if (!isLast) return waiting(failed, new Date(now.getTime() + backoff(run)));
  return { ...ended(failed, 'failed', now), dead: true };
}

function failureOf({ token }: RunValue, end: RunEnd): Pick<RunValue, 'error' | 'failedToken'> {
  if (end.kind === 'failed') return { error: end.error, failedToken: token };
  return end.kind === 'expired' ? { error: 'lease_expired' } : {};
}

/**
 * What failed before is in the run's events. Where a record has no room for both, the result is kept in place of the
 * checkpoint, from which nobody goes on any more.
 */
function succeeded(
  { checkpoint, error: _earlier, failedToken: _token, ...run }: RunValue,
  result: JsonValue | undefined,
): RunValue {
  const bare = { ...run, ...compact({ result }) };
  if (checkpoint === undefined) return bare;
  const whole = { ...bare, checkpoint };
  return result !== undefined && jsonBytes(whole) > LIMITS.recordBytes ? bare : whole;
}

/** Milliseconds until the next attempt. */
function backoff({ retry = RETRY, attempt }: RunValue): number {
  const { backoffSeconds, multiplier, jitterSeconds } = retry;
  // Ten years, beyond which no time is to be reckoned with.
  const delay = backoffSeconds === 0 ? 0 : Math.min(backoffSeconds * multiplier ** (attempt - 1), 315_576_000);
  return Math.round((delay + Math.random() * jitterSeconds) * 1_000);
}

/** In its queue again. */
export function waiting(held: RunValue, dueAt: Date): RunValue {
  const { workerId: _worker, jobSlot: _job, tenantSlot: _tenant, ...run } = held;
  const queue = run.limit === undefined ? 'open' : 'gated';
  return { ...run, status: 'scheduled', queue, dueAt, availableAt: dueAt };
}

/** Over: nobody is to claim it. */
export function ended(run: RunValue, status: RunStatus, now: Date): RunValue {
  const { queue, dueAt: _due, jobSlot: _job, tenantSlot: _tenant, ...over } = run;
  const { startedAt, availableAt } = run;
  const waited = queue === 'held' && startedAt && availableAt ? startedAt.getTime() - availableAt.getTime() : undefined;
  return {
    ...over,
    status,
    finishedAt: now,
    ...compact({ waitedMs: waited === undefined ? waited : Math.max(waited, 0) }),
  };
}

/** Cancels what waits at once, and asks for the end of what is held. */
export function cancel(unit: Unit, run: RunRecord, actor: Actor): RunRecord {
  const { value } = run;
  if (value.queue === 'held') {
    const { next, facts } = writeTold(unit, run, { ...value, cancelRequestedAt: unit.now });
    unit.event(next, 'run_cancel_requested', facts, actor);
    return next;
  }
  const cancelled = writeRun(unit, run, ended(value, 'cancelled', unit.now));
  unit.event(cancelled, 'run_cancelled', runFacts(run), actor);
  return cancelled;
}

/** What the changes of all runs of a decision bring with them: places that are free, and jobs that end with their rerun. */
export async function followRuns(unit: Unit, runs: readonly ChangedRun[]): Promise<void> {
  freePlaces(unit, runs);
  const over = runs.filter(({ is: { value } }) => value.drivesJob === true && value.finishedAt !== undefined);
  for (const { is: run } of over) {
    const { jobId } = run.value;
    const [job, schedule] = await Promise.all([unit.find(JOBS, jobId), unit.find(SCHEDULES, jobId)]);
    if (job?.value.status !== 'running' || job.value.currentRunId !== run.id) continue;
    const { currentRunId: _over, ...value } = job.value;
    const to = schedule !== undefined && isToCome(schedule.value) ? 'scheduled' : run.value.status;
    const next = unit.replace<JobValue>(JOBS, job, { ...value, status: to });
    unit.event(next, 'status_changed', { jobId, tenantId: unit.tenant, from: 'running', to });
  }
}

/** The id of an occurrence's run: of two that make it, one is too late. */
export function occurrenceId(jobId: string, at: Date): string {
  const hex = createHash('sha256').update(`${jobId}\n${at.getTime()}`).digest('hex');
  // In the form of a UUID of version 8, which is for what its maker says.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** What is told of a run that nobody tries again. @param cause why its last attempt failed */
export function deadRun({ id, tenant, value }: TenantRecord<RunValue>, cause: unknown): StorageError {
  const { jobId, jobName, attempt } = value;
  const reason = foreignErrorName(cause);
  return new StorageError('INTERNAL', `A run of the job ${JSON.stringify(jobName)} failed for good (${reason})`, {
    component: 'jobs',
    details: { id, jobId, jobName, tenant, attempt, dead: true, reason },
    cause,
  });
}

/** What is told of a run whose result is none that can be kept. */
export function unkeptResult({ id, tenant, value }: TenantRecord<RunValue>, cause: unknown): StorageError {
  const { jobId, jobName } = value;
  const why = isStorageError(cause) ? cause.message : `it cannot be read (${foreignErrorName(cause)})`;
  return new StorageError(
    'VALIDATION',
    `A run of the job ${JSON.stringify(jobName)} succeeds without its result: ${why}`,
    {
      component: 'jobs',
      operation: 'jobs.work',
      details: { key: 'result', id, jobId, jobName, tenant },
      cause,
    },
  );
}
