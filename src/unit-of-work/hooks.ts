/** What a transaction's function asked to run after the commit or the rollback, and the errors of that. */
import { isStorageError, StorageError } from '../errors.js';

export type Hook = () => void | Promise<void>;

export function hookFailure(errors: readonly unknown[]): StorageError {
  return new StorageError('INTERNAL', `A transaction is committed, but ${errors.length} of its onCommit hooks failed`, {
    operation: 'onCommit',
    details: { committed: true, hookErrors: errors.length },
    cause: new AggregateError(errors),
  });
}

export function compensationFailure(error: unknown, failures: readonly unknown[]): StorageError {
  const code = isStorageError(error) ? error.code : 'INTERNAL';
  return new StorageError(code, `The transaction rolled back, and ${failures.length} of its onRollback hooks failed`, {
    details: { rollbackErrors: failures.length },
    cause: new AggregateError([error, ...failures]),
  });
}

/** Runs hooks one after another, each even if another fails. */
export async function runHooks(hooks: readonly Hook[]): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (const hook of hooks) {
    try {
      await hook();
    } catch (error) {
      errors.push(error);
    }
  }
  return errors;
}
