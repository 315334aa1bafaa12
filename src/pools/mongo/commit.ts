/** The end of a transaction: a commit whose answer is lost is asked for again, and never reported as what it may not be. */
import type { ClientSession } from 'mongodb';
import { sleep, type Clock, within } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { untilBounds } from '../slot.js';
import { hasLabel, isNetworkFault, isSystemFault, mapError } from './errors.js';

const PAUSE = 50;

/** How long a caller waits for its rollback; the server drops the transaction in any case. */
const ROLLBACK_GRACE = 1_000;

type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

/**
 * Commits; the server knows a commit that it has made, so asking again is safe.
 * @throws `CONFLICT` (a serialization failure), `OUTCOME_UNKNOWN` when no answer came until the deadline or the signal.
 */
export async function commit(session: ClientSession, clock: Clock, bounds: Bounds, component: string): Promise<void> {
  for (let lost = false; ; lost = true) {
    try {
      return await within(session.commitTransaction(), bounds, clock, 'The commit was not answered in time');
    } catch (error) {
      // Of the bounds: the client has none of ours.
      if (isStorageError(error)) throw unknown(component, error);
      if (!isUnknown(error)) throw refusal(error, lost || session.serverSession.isDirty, component);
      if (clock.monotonic() + PAUSE >= bounds.deadline) throw unknown(component, error);
    }
    await sleep(clock, PAUSE, bounds.signal).catch((cause: unknown) => {
      throw unknown(component, cause);
    });
  }
}

/**
 * Waits no longer than the transaction's caller would. Never rejects.
 * @param quiet resolves when nothing is asked of the client in it any more: what still waits for a connection when the
 * transaction is aborted would be sent outside of it, and stay
 */
export async function rollBack(
  session: ClientSession,
  quiet: Promise<void>,
  clock: Clock,
  { deadline, signal }: Bounds,
): Promise<void> {
  const ended = quiet
    .then(() => session.abortTransaction())
    // Refused after an attempt to commit. Beside one that was cut either may win: the caller was told that nobody knows.
    .catch(() => undefined)
    .then(() => session.endSession())
    .catch(() => undefined);
  await untilBounds(ended, { deadline: Math.min(deadline, clock.monotonic() + ROLLBACK_GRACE), signal }, clock);
}

function isUnknown(error: unknown): boolean {
  if (isNetworkFault(error) || isSystemFault(error)) return true;
  return hasLabel(error, 'UnknownTransactionCommitResult') && !hasLabel(error, 'TransientTransactionError');
}

/** @param lost whether an earlier try got no answer, be it one of the client's own */
function refusal(error: unknown, lost: boolean, component: string): StorageError {
  // With this label a majority of the servers has no such transaction, whatever became of the answers before.
  const isCertain = !lost || hasLabel(error, 'TransientTransactionError');
  return isCertain ? mapError(error, component, 'transaction') : unknown(component, error);
}

function unknown(component: string, cause?: unknown): StorageError {
  return new StorageError('OUTCOME_UNKNOWN', 'The answer to the commit was lost: it may have been made', {
    component,
    operation: 'transaction',
    cause,
  });
}
