/** The end of a transaction: a commit whose answer is lost is asked for again, and never reported as what it may not be. */
import { sleep, within } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { untilBounds } from '../slot.js';
import { hasLabel, isNetworkFault, isSystemFault, mapError } from './errors.js';
import { leaveTurn, type Opened } from './opened.js';
import type { MongoSession } from './session.js';

const PAUSE = 50;

/** How long a caller waits for its rollback; the server drops the transaction in any case. */
const ROLLBACK_GRACE = 1_000;

type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

/** The client's own errors after it has waited for a server, or for a connection, as long as it was to. */
const GIVEN_UP = new Set(['MongoServerSelectionError', 'MongoWaitQueueTimeoutError']);

/**
 * Commits, on a turn of its own where there is anything to commit.
 * @throws `TIMEOUT`, `ABORTED`, `UNAVAILABLE`, `CLOSED` for a commit that never was sent, and never will be; `CONFLICT` (a
 * serialization failure), `OUTCOME_UNKNOWN` when no answer came until the deadline or the signal.
 */
export async function commit(session: MongoSession, opened: Opened, bounds: Bounds): Promise<void> {
  const { client } = session;
  if (!session.begun) return client.commitTransaction();
  const turn = opened.gate.acquire(bounds, true);
  if (turn !== undefined) await turn;
  let asking: Promise<void> = Promise.resolve();
  try {
    await ask(session, bounds, () => (asking = client.commitTransaction()));
  } finally {
    // Nobody may wait for it any more, but it still has the connection.
    void asking.catch(() => undefined).then(() => leaveTurn(opened));
  }
}

/** The server knows a commit that it has made, so asking again is safe. */
async function ask(session: MongoSession, bounds: Bounds, commitOnce: () => Promise<void>): Promise<void> {
  const { client, clock } = session;
  const component = session.pool.name;
  const { serverSession } = client;
  const isTold = session.tellsUse;
  for (let lost = false; ;) {
    const unused = session.markUnused();
    try {
      return await within(commitOnce(), bounds, clock, 'The commit was not answered in time');
    } catch (error) {
      // Of the bounds: the client has none of ours, and may send it yet.
      if (isStorageError(error)) throw unknown(component, error);
      lost ||= serverSession.isDirty;
      if (!isUnknown(error)) throw refusal(error, lost, component);
      lost ||= !isTold || serverSession.lastUse !== unused;
      const isLast = clock.monotonic() + PAUSE >= bounds.deadline;
      if (isLast && lost) throw unknown(component, error);
      if (!lost && (isLast || GIVEN_UP.has((error as Error).name))) throw giveUp(session, error);
    }
    await sleep(clock, PAUSE, bounds.signal).catch((cause: unknown) => {
      throw lost ? unknown(component, cause) : giveUp(session, cause);
    });
  }
}

function giveUp(session: MongoSession, error: unknown): StorageError {
  session.abort();
  return mapError(error, session.pool.name, 'transaction');
}

/**
 * Waits no longer than the transaction's caller would. Never rejects.
 * @param session in which nothing is begun any more: what still waits for a connection when the transaction is aborted would
 * be sent outside of it, and stay
 */
export async function rollBack(session: MongoSession, { deadline, signal }: Bounds): Promise<void> {
  const { client, clock } = session;
  const ended = session
    .quiet()
    .then(() => client.abortTransaction())
    // Refused after an attempt to commit. Beside one that was cut either may win: the caller was told that nobody knows.
    .catch(() => undefined)
    .then(() => client.endSession())
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
