/** A transaction over one database: its session, and the function run again on a conflict. */
import { EARLY, sleep } from '../clock.js';
import type { CallOptions, OperationContext } from '../component.js';
import { invalid, isSerializationFailure, isStorageError, UnsupportedError, type StorageError } from '../errors.js';
import type { Isolation } from '../pools/pool.js';
import { Attempt, runningAttempt, type TransactionDatabase } from './attempt.js';
import { compensationFailure, hookFailure, runHooks } from './hooks.js';
import { runInTurn } from './retry-queue.js';

export interface TransactionCallOptions extends CallOptions {
  /**
   * Default: the strongest that the database has. One that has only a stronger level gives that; where it has only
   * `snapshot`, `serializable` is `UNSUPPORTED`. In a transaction within another: that one's, and no other.
   */
  readonly isolation?: Isolation | undefined;
  /** The database. Default: that of the collections that name none; in a transaction within another, that one's. */
  readonly on?: string | undefined;
  /**
   * How often the whole function is run again after a conflict, at most; default: until its time is over. In a transaction
   * within another nothing is run again by itself: the outermost one's count.
   */
  readonly retries?: number | undefined;
}

/**
 * Runs `work` in a transaction of `pool` until it commits: again, as a whole, when it lost against another transaction.
 * It rejects only when nothing was committed: what `onCommit` hooks throw goes to `onHookError`, after all have run.
 * @throws `OUTCOME_UNKNOWN`, without running a hook, when the answer to the commit was lost; what `work` throws; `CONFLICT` (retryable) when the retries, or the time for them, are used up.
 */
export async function runTransaction<R>(
  database: TransactionDatabase,
  context: OperationContext,
  options: TransactionCallOptions,
  work: (attempt: Attempt) => Promise<R>,
  onHookError: (error: StorageError) => void,
): Promise<R> {
  const retries = checkRetries(options.retries);
  const isolation = isolationOn(database, options.isolation);
  const { clock } = database;
  let conflicts = 0;
  let lost: StorageError | undefined;
  for (;;) {
    const run = (): Promise<Outcome<R>> => runOnce(database, context, isolation, work);
    // After one loss it goes on at once: most have lost against something that is over, and have nothing to do with each other.
    const outcome = await (conflicts < 2 ? run() : runInTurn(database.pool, clock, context, run));
    if (outcome.committed) {
      const errors = await runHooks(outcome.attempt.committed);
      if (errors.length > 0) onHookError(hookFailure(errors));
      return outcome.result;
    }
    const { attempt, error } = outcome;
    // Whether it is committed nobody knows, once its commit was sent: to undo outside what may well have happened would be the half that is promised not to be.
    const isUnknown = attempt?.isToCommit === true && isStorageError(error, 'OUTCOME_UNKNOWN');
    const undone = isUnknown ? [] : (attempt?.takeCompensations() ?? []);
    const failed = await runHooks(undone);
    if (failed.length > 0) throw compensationFailure(error, failed);
    if (attempt?.missing !== undefined) {
      await attempt.missing.ensure(context);
    } else if (isSerializationFailure(error) && conflicts < retries) {
      conflicts++;
      lost = error as StorageError;
      const pause = Math.random() * Math.min(2 ** conflicts, 100);
      if (clock.monotonic() + pause >= context.deadline) throw lost;
      await sleep(clock, pause, context.signal);
    } else {
      // The time for the retries is over, be it that one was under way.
      const isOver = clock.monotonic() + EARLY >= context.deadline && isStorageError(error, 'TIMEOUT');
      throw isOver && lost !== undefined ? lost : error;
    }
  }
}

/** @throws `VALIDATION` */
export function checkRetries(retries: unknown = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isInteger(retries) || (retries as number) < 0)
    throw invalid('retries', retries, 'a whole number, 0 or more');
  return retries as number;
}

function isolationOn({ name, backend }: TransactionDatabase, asked: Isolation | undefined): Isolation {
  const strongest = backend.capabilities.transactions === 'snapshot' ? 'snapshot' : 'serializable';
  const isolation = asked ?? strongest;
  if (isolation !== 'serializable' && isolation !== 'snapshot')
    throw invalid('isolation', isolation, "'serializable' or 'snapshot'");
  if (isolation === 'serializable' && strongest === 'snapshot')
    throw new UnsupportedError(`The database ${name} has no serializable transactions, only snapshots`, {
      operation: 'transaction',
    });
  return isolation;
}

type Outcome<R> =
  | { readonly committed: true; readonly attempt: Attempt; readonly result: R }
  | { readonly committed: false; readonly attempt: Attempt | undefined; readonly error: unknown };

async function runOnce<R>(
  database: TransactionDatabase,
  context: OperationContext,
  isolation: Isolation,
  work: (attempt: Attempt) => Promise<R>,
): Promise<Outcome<R>> {
  let attempt: Attempt | undefined;
  const enclosing = runningAttempt();
  try {
    const result = await database.pool.transaction({ isolation, context }, (session) => {
      attempt = new Attempt(database, isolation, session, context, enclosing);
      return attempt.run(work);
    });
    return { committed: true, attempt: attempt!, result };
  } catch (error) {
    attempt?.giveUp();
    return { committed: false, attempt, error };
  }
}
