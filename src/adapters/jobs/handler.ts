/** What a host gives to a worker, and what becomes of what its handler does. */
import { hostname } from 'node:os';
import type { JsonValue } from '../../backends/backend.js';
import { jsonBytes } from '../../backends/value.js';
import { invalid, isPermanent, thrownText } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { json } from '../arguments.js';
import { readNames } from './arguments.js';
import type { ClaimedRun } from './claim-operations.js';
import type { RunEnd } from './run-ends.js';

/** What a handler may use beside the run. */
export interface RunContext {
  /** Aborts when the run is cancelled, takes too long or has lost its lease, and when the worker stops. */
  readonly signal: AbortSignal;
  /** Keeps how far the run has come; `run.checkpoint` has it at the next attempt. @throws `LEASE_LOST` */
  readonly checkpoint: (checkpoint: {
    readonly stepIndex: number;
    readonly stepName: string;
    readonly state: unknown;
  }) => Promise<void>;
}

/**
 * Does a run; what it gives is the run's result: strict JSON of up to 256 KiB (plain objects and arrays, no `Date`, no instance of a
 * class, no bigint), or undefined for none. Where it is not, the run has succeeded without it, and the manager's event `error`
 * says so. What it throws fails the attempt.
 */
export type RunHandler<Payload = ClaimedRun['payload']> = (run: ClaimedRun<Payload>, context: RunContext) => unknown;

/**
 * By the names of jobs; of each tenant the job that had this name when the run was made. `Payloads`: what their runs carry, by
 * the same names.
 */
export type RunHandlers<Payloads = Record<string, ClaimedRun['payload']>> = {
  readonly [Name in keyof Payloads]?: RunHandler<Payloads[Name]>;
};

export interface WorkOptions {
  /** Default: host, process id and a random part. */
  readonly workerId?: string | undefined;
  /** Runs that it handles at once, 1 to 1,000; default 4. */
  readonly concurrency?: number | undefined;
  /** Extended while the handler runs; default 60. After it, a run of a worker that is gone is another's. */
  readonly leaseSeconds?: number | undefined;
  /** Milliseconds between looks when nothing was due; default 1,000. What this process enqueues is seen at once. */
  readonly poll?: number | undefined;
  /**
   * Told of each attempt that failed, once that is written. What it throws is ignored. Absent: the manager's event `error` has
   * those after which none follows.
   */
  readonly onFailure?: ((failure: RunFailure) => void) | undefined;
}

export interface RunFailure {
  readonly run: ClaimedRun;
  /** What the handler threw; a StorageError where it was cut: its time was over, it was cancelled. */
  readonly error: unknown;
  /** No attempt follows: the run is `failed`, or `cancelled`. */
  readonly dead: boolean;
}

export interface JobWorkerStatus {
  readonly workerId: string;
  /** `stopped` also when the manager was closed under it. */
  readonly state: 'running' | 'stopping' | 'stopped';
  readonly inFlight: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Runs whose lease another took over. */
  readonly lost: number;
}

export function makeWorkerId(): string {
  return `${hostname()}:${process.pid}:${Math.random().toString(36).slice(2, 8)}`;
}

/** What handles the runs of which jobs: `jobs` is absent for all. @throws `VALIDATION` */
export function readHandlers(given: RunHandler | RunHandlers): {
  readonly jobs?: readonly string[];
  readonly handlerOf: (jobName: string) => RunHandler;
} {
  if (typeof given === 'function') return { handlerOf: () => given };
  if (!isPlainObject(given))
    throw invalid('handler', given, 'a function, or an object of functions by the names of jobs');
  const entries = Object.entries(given).filter((entry): entry is [string, RunHandler] => entry[1] !== undefined);
  for (const [name, handler] of entries)
    if (typeof handler !== 'function') throw invalid(`handler.${name}`, handler, 'a function');
  if (entries.length === 0) throw invalid('handler', given, 'an object of at least one function by the name of a job');
  const jobs = readNames(
    entries.map(([name]) => name),
    'handler',
  );
  const handlers = new Map(jobs.map((name, i) => [name, entries[i]![1]]));
  return { jobs, handlerOf: (name) => handlers.get(name)! };
}

/** Runs the handler. @param onUnkept told why its result cannot be kept */
export async function outcome(
  handler: RunHandler,
  run: ClaimedRun,
  context: RunContext,
  onUnkept: (why: unknown) => void,
): Promise<RunEnd> {
  let result: unknown;
  try {
    result = await handler(run, context);
  } catch (error) {
    return failed(error);
  }
  try {
    return { kind: 'succeeded', result: result === undefined ? undefined : readResult(result) };
  } catch (error) {
    // It has done its work: who finds it failed would have that done again.
    onUnkept(failed(error).cause);
    return { kind: 'succeeded' };
  }
}

/** Beside what else a run keeps, its record must have room for it. */
const MOST_RESULT_BYTES = 262_144;

function readResult(result: unknown): JsonValue {
  const stored = json(result, 'result');
  const bytes = jsonBytes(stored);
  if (bytes > MOST_RESULT_BYTES)
    throw invalid('result', result, `at most ${MOST_RESULT_BYTES} bytes of JSON, not ${bytes}`);
  return stored;
}

function failed(cause: unknown): RunEnd & { readonly kind: 'failed' } {
  try {
    return { kind: 'failed', error: thrownText(cause), retryable: !isPermanent(cause), cause };
  } catch {
    // Its own members throw: nobody who is told of it could read it either.
    const error = 'The handler threw what cannot be read';
    return { kind: 'failed', error, retryable: true, cause: new TypeError(error) };
  }
}
