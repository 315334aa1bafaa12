/** The end of a transaction: a commit whose answer is lost is asked for again, and never reported as what it may not be. */
import type { ClientSession } from 'mongodb';
import { sleep, type Clock, timerDelay } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { StorageError } from '../../errors.js';
import { untilBounds } from '../slot.js';
import { hasLabel, isNetworkFault, mapError } from './errors.js';

const PAUSE = 50;

/** How long a caller waits for its rollback; the server drops the transaction in any case. */
const ROLLBACK_GRACE = 1_000;

/**
 * Commits; the server knows a commit that it has made, so asking again is safe.
 * @throws `CONFLICT` (a serialization failure), `OUTCOME_UNKNOWN` when no answer came until `deadline`.
 */
export async function commit(session: ClientSession, clock: Clock, deadline: number, component: string): Promise<void> {
  for (;;) {
    try {
      const answered = await within(session.commitTransaction(), clock, deadline - clock.monotonic());
      if (!answered) throw unknown(component);
      return;
    } catch (error) {
      if (!isUnknown(error)) throw mapError(error, component, 'transaction');
      if (clock.monotonic() + PAUSE >= deadline) throw unknown(component, error);
      await sleep(clock, PAUSE);
    }
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
  { deadline, signal }: Pick<OperationContext, 'deadline' | 'signal'>,
): Promise<void> {
  const ended = quiet
    .then(() => session.abortTransaction())
    // It is refused after an attempt to commit, which ended the transaction as well.
    .catch(() => undefined)
    .then(() => session.endSession())
    .catch(() => undefined);
  await untilBounds(ended, { deadline: Math.min(deadline, clock.monotonic() + ROLLBACK_GRACE), signal }, clock);
}

function isUnknown(error: unknown): boolean {
  if (hasLabel(error, 'TransientTransactionError')) return false;
  return hasLabel(error, 'UnknownTransactionCommitResult') || isNetworkFault(error);
}

function unknown(component: string, cause?: unknown): StorageError {
  return new StorageError('OUTCOME_UNKNOWN', 'The answer to the commit was lost: it may have been made', {
    component,
    operation: 'transaction',
    cause,
  });
}

/** Whether `promise` resolved within `milliseconds`. @throws what it rejects with until then. */
function within(promise: Promise<unknown>, clock: Clock, milliseconds: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timerDelay(milliseconds), () => resolve(false));
    promise.then(
      () => {
        timer.cancel();
        resolve(true);
      },
      (error: Error) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}
