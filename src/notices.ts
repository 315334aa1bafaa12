/** What a manager tells of itself, where no caller waits for it. */
import { foreignErrorName, invalid, type StorageError } from './errors.js';
import type { LifecycleState } from './lifecycle.js';

export interface ManagerEvents {
  /** The lifecycle's state changed; `error` tells why an opening failed. */
  state: (state: LifecycleState, error?: StorageError) => void;
  /**
   * Something failed that no caller waits for: `onCommit` hooks of a transaction that is committed (`details.committed`); a
   * delivery that is a dead letter now, or a job's run that failed for good, where its relay or worker has no `onFailure`
   * (`details.dead`). It becomes a warning of the process when nobody listens.
   */
  error: (error: StorageError) => void;
}

export class Notices {
  private readonly listeners: { readonly [E in keyof ManagerEvents]: Set<ManagerEvents[E]> } = {
    state: new Set(),
    error: new Set(),
  };

  /** Listens until the returned function is called. @throws `VALIDATION` for an unknown event */
  on(event: string, listener: ManagerEvents[keyof ManagerEvents]): () => void {
    if (!Object.hasOwn(this.listeners, event))
      throw invalid('event', event, "'state', 'error', '*' or the type of a store's event");
    const listeners = this.listeners[event as keyof ManagerEvents] as Set<typeof listener>;
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  state(state: LifecycleState, error: StorageError | undefined): void {
    for (const listener of [...this.listeners.state]) quietly('state', () => listener(state, error));
  }

  report(error: StorageError): void {
    const listeners = this.listeners.error;
    if (listeners.size === 0) warn(error.message);
    for (const listener of [...listeners]) quietly('error', () => listener(error));
  }
}

/** What it was told of is over and stands, whatever the listener makes of it; and the others are told too. */
function quietly(event: string, tell: () => void): void {
  try {
    tell();
  } catch (fault) {
    warn(`A listener of the event ${event} threw (${foreignErrorName(fault)})`);
  }
}

function warn(message: string): void {
  process.emitWarning(message, 'StorageWarning');
}
