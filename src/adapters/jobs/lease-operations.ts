/** What the holder of a run does with it, under the token of its claim. */
import type { CallOptions } from '../../component.js';
import { callOptions } from '../store.js';
import type { Unit } from '../unit.js';
import { LEASE_SECONDS, OPTIONS, readCheckpoint, readCompletion, readFailure, readId, readToken } from './arguments.js';
import type { ChangedRun } from './gates.js';
import { RunOperations } from './run-operations.js';
import {
  endAttempt,
  followRuns,
  isHeld,
  isWritten,
  leaseLost,
  writeRun,
  type RunEnd,
  type RunRecord,
} from './run-ends.js';
import { RUNS, type Checkpoint, type JobRun } from './records.js';

export interface Heartbeat {
  /** Somebody wants the run to end: fail or release it, and it is cancelled. */
  readonly cancelRequested: boolean;
  readonly leaseUntil: Date;
}

/** A run that was claimed, as its holder knows it, and what is to be written of it. */
export interface HeldEnd {
  readonly run: RunRecord;
  readonly end: RunEnd;
}

export abstract class LeaseOperations extends RunOperations {
  /**
   * Extends the lease to `leaseSeconds` from now; without them to 60 s from now, unless it lasts longer anyway.
   * @throws `LEASE_LOST`
   */
  async heartbeat(
    runId: string,
    token: number,
    options: CallOptions & { readonly leaseSeconds?: number | undefined } = {},
  ): Promise<Heartbeat> {
    const { leaseSeconds } = OPTIONS.heartbeat(options, 'options');
    const run = await this.whileHeld('heartbeat', runId, token, options, (unit, held) => {
      const left = (held.value.dueAt!.getTime() - unit.now.getTime()) / 1_000;
      return extendLease(unit, held, leaseSeconds ?? Math.max(left, LEASE_SECONDS));
    });
    return { cancelRequested: run.value.cancelRequestedAt !== undefined, leaseUntil: run.value.dueAt! };
  }

  /** Keeps how far the run has come, in place of the last time; it comes with the next claim. @throws `LEASE_LOST` */
  async saveCheckpoint(
    runId: string,
    token: number,
    checkpoint: { readonly stepIndex: number; readonly stepName: string; readonly state: unknown },
    options: CallOptions = {},
  ): Promise<JobRun> {
    OPTIONS.read(options, 'options');
    return this.entity(await this.writeCheckpoint(runId, token, checkpoint, options));
  }

  protected writeCheckpoint(runId: string, token: number, given: unknown, options: CallOptions): Promise<RunRecord> {
    const checkpoint: Checkpoint = readCheckpoint(given, 'checkpoint');
    return this.whileHeld('saveCheckpoint', runId, token, options, (unit, held) =>
      writeRun(unit, held, { ...held.value, checkpoint }),
    );
  }

  /** The run has succeeded. Repeated under the same token it gives the run again. @throws `LEASE_LOST` */
  async complete(
    runId: string,
    token: number,
    completion: { readonly result?: unknown } = {},
    options: CallOptions = {},
  ): Promise<JobRun> {
    OPTIONS.read(options, 'options');
    const { result } = readCompletion(completion, 'completion');
    return this.endRun('complete', runId, token, { kind: 'succeeded', result }, options);
  }

  /**
   * The attempt has failed: the run waits for the next one, or has failed when there is none left or `retryable` is false
   * (default true). Cancelled, if that was asked for. Repeated under the same token with the same error it gives the run again.
   * @throws `LEASE_LOST`
   */
  async fail(
    runId: string,
    token: number,
    failure: { readonly error: string; readonly retryable?: boolean },
    options: CallOptions = {},
  ): Promise<JobRun> {
    OPTIONS.read(options, 'options');
    const { error, retryable } = readFailure(failure, 'failure');
    return this.endRun('fail', runId, token, { kind: 'failed', error, retryable }, options);
  }

  /** Gives the run back as if the attempt had not begun: it is due at once. @throws `LEASE_LOST` */
  async release(runId: string, token: number, options: CallOptions = {}): Promise<JobRun> {
    OPTIONS.read(options, 'options');
    return this.endRun('release', runId, token, { kind: 'released' }, options);
  }

  private async endRun(
    operation: string,
    runId: string,
    token: number,
    end: RunEnd,
    options: CallOptions,
  ): Promise<JobRun> {
    const id = readId(runId, 'runId');
    const held = readToken(token, 'token');
    return this.change(operation, options, async (unit) => {
      const run = await unit.find(RUNS, id);
      if (isWritten(run, held, end)) return this.entity(run);
      if (!isHeld(run, held)) throw leaseLost(id, `jobs.${operation}`);
      const next = endAttempt(unit, run, end);
      await followRuns(unit, [{ was: run, is: next }]);
      return this.entity(next);
    });
  }

  private whileHeld(
    operation: string,
    runId: string,
    token: number,
    options: CallOptions,
    write: (unit: Unit, run: RunRecord) => RunRecord,
  ): Promise<RunRecord> {
    const id = readId(runId, 'runId');
    const held = readToken(token, 'token');
    return this.change(operation, callOptions(options), async (unit) => {
      const run = await unit.find(RUNS, id);
      if (!isHeld(run, held)) throw leaseLost(id, `jobs.${operation}`);
      return write(unit, run);
    });
  }

  /**
   * Writes how runs of the tenant's ended, by what their holder knows of them; when another has changed one, by what they
   * are by now. Gives them as they are written; without those that are no longer held under their tokens.
   */
  protected endHeld(ends: readonly HeldEnd[]): Promise<ReadonlyMap<string, RunRecord>> {
    let read = false;
    return this.change('complete', {}, async (unit) => {
      const ids = ends.map(({ run }) => run.id);
      const runs = read ? await unit.findMany(RUNS, ids) : ends.map(({ run }) => run);
      read = true;
      const written = new Map<string, RunRecord>();
      const over: ChangedRun[] = [];
      ends.forEach(({ run: { id, value }, end }, i) => {
        const run = runs[i];
        if (isWritten(run, value.token, end)) written.set(id, run);
        else if (isHeld(run, value.token)) over.push({ was: run, is: endAttempt(unit, run, end) });
      });
      await followRuns(unit, over);
      for (const { is } of over) written.set(is.id, is);
      return written;
    });
  }

  /** Extends the leases of runs of the tenant's; gives them as they are then, without those that are lost. */
  protected extendHeld(held: readonly RunRecord[], leaseSeconds: number): Promise<ReadonlyMap<string, RunRecord>> {
    // One that hangs must leave time for another.
    return this.change('heartbeat', { timeout: (leaseSeconds * 1_000) / 3 }, async (unit) => {
      const ids = held.map(({ id }) => id);
      const runs = await unit.findMany(RUNS, ids);
      const kept = runs.flatMap((run, i) =>
        isHeld(run, held[i]!.value.token) ? [extendLease(unit, run, leaseSeconds)] : [],
      );
      return new Map(kept.map((run) => [run.id, run]));
    });
  }
}

function extendLease(unit: Unit, run: RunRecord, leaseSeconds: number): RunRecord {
  const dueAt = new Date(unit.now.getTime() + Math.ceil(leaseSeconds * 1_000));
  return writeRun(unit, run, { ...run.value, dueAt });
}
