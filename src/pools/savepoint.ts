/** A part of a transaction that is undone by itself. */
import { isSerializationFailure, type StorageError } from '../errors.js';
import type { LocalSession } from './local-session.js';

/** A point of the transaction that it can go back to. */
export interface Savepoint {
  /** Keeps what was done since, for as long as what is around it is kept. */
  release(): Promise<void> | void;
  /** @throws when the database cannot go back. */
  undo(): Promise<void> | void;
}

/**
 * Runs `work` behind a savepoint.
 * @param set makes it; savepoints within each other have different names
 */
export async function withSavepoint<R>(
  session: LocalSession,
  set: (name: string) => Promise<Savepoint> | Savepoint,
  work: () => Promise<R>,
): Promise<R> {
  session.depth++;
  try {
    const savepoint = await set(`quartermaster_${session.depth}`);
    try {
      const result = await work();
      const refusal = session.refusal();
      if (refusal !== undefined) throw refusal;
      await savepoint.release();
      return result;
    } catch (error) {
      await goBack(session, savepoint, error);
      throw error;
    }
  } finally {
    session.depth--;
  }
}

async function goBack(session: LocalSession, savepoint: Savepoint, error: unknown): Promise<void> {
  // Its snapshot has lost, and would lose again: only the whole transaction can be run again.
  if (isSerializationFailure(error)) session.failure = error as StorageError;
  if (isSerializationFailure(session.failure) || session.over !== undefined) return;
  try {
    await savepoint.undo();
    session.failure = undefined;
  } catch (fault) {
    session.failure ??= fault as StorageError;
  }
}
