/** What a manager tells of itself, where no caller waits for it. */
import { foreignErrorName, invalid, type StorageError } from './errors.js';
import type { LifecycleState } from './lifecycle.js';
import { Listeners } from './listeners.js';

export interface ManagerEvents {
  /** The lifecycle's state changed; `error` tells why an opening failed. */
  state: (state: LifecycleState, error?: StorageError) => void;
  /**
   * Something failed that no caller waits for: `onCommit` hooks of a transaction that is committed (`details.committed`); a
   * delivery that is a dead letter now, or a job's run that failed for good, where its relay or worker has no `onFailure`
   * (`details.dead`); a component that is not critical and does not open, told once until it has. Also, when a manager
   * opens, what its settings leave out and were likely meant to say (`CONFIGURATION`).
   * It becomes a warning of the process when nobody listens.
   */
  error: (error: StorageError) => void;
}

export class Notices {
  private readonly listeners: { readonly [E in keyof ManagerEvents]: Listeners<ManagerEvents[E]> } = {
    state: new Listeners(),
    error: new Listeners(),
  };

  /** Listens until the returned function is called. @throws `VALIDATION` for an unknown event */
  on(event: string, listener: ManagerEvents[keyof ManagerEvents]): () => void {
    if (!Object.hasOwn(this.listeners, event))
      throw invalid('event', event, "'state', 'error', '*' or the type of a store's event");
    return (this.listeners[event as keyof ManagerEvents] as Listeners<typeof listener>).add(listener);
  }

  state(state: LifecycleState, error: StorageError | undefined): void {
    this.listeners.state.tell((listener) => listener(state, error), failed('state'));
  }

  report(error: StorageError): void {
    if (this.listeners.error.size === 0) warn(named(error));
    this.listeners.error.tell((listener) => listener(error), failed('error'));
  }
}

/** Of several databases one is meant. */
function named({ component, message }: StorageError): string {
  return component === undefined || message.includes(component) ? message : `${component}: ${message}`;
}

function failed(event: string): (fault: unknown) => void {
  return (fault) => warn(`A listener of the event ${event} threw (${foreignErrorName(fault)})`);
}

function warn(message: string): void {
  process.emitWarning(message, 'StorageWarning');
}
