/** Delivers what transactions left for other databases and for vector services, as long as a manager is open. */
import type { Clock } from '../clock.js';
import type { CollectionHost } from '../collection/host.js';
import { foreignErrorName, isStorageError, StorageError } from '../errors.js';
import { Relay } from '../unit-of-work/relay.js';
import { checkRelayOptions, type DeliveryFailure } from '../unit-of-work/relay/options.js';
import { deliveryHandlers, type DeliveryTargets } from './handlers.js';

export interface DispatchHost extends DeliveryTargets {
  /** Tells what went wrong where no caller waits for it. */
  report(error: StorageError): void;
  onClosing(listener: () => void): () => void;
}

/**
 * Begins for one database, whose outbox it is, and ends with the manager. Its timers do not keep the process alive: what is
 * left then is delivered when one of these managers is open again.
 */
export function dispatch(database: CollectionHost, host: DispatchHost): void {
  let last: string | undefined;
  const settings = checkRelayOptions({
    handlers: deliveryHandlers(host),
    onFailure: (failure: DeliveryFailure) => {
      if (failure.dead) host.report(undeliverable(failure));
    },
    onError: (error: unknown) => {
      const fault = isStorageError(error) ? error.code : foreignErrorName(error);
      // Told when it begins: the relay tries again and again.
      if (fault !== last && isStorageError(error)) host.report(error);
      last = fault;
    },
  });
  new Relay({ ...database, clock: background(database.clock) }, settings, (listener) => host.onClosing(listener));
}

function undeliverable({ message, error }: DeliveryFailure): StorageError {
  const { id, topic, key, tenant } = message;
  return new StorageError(
    'INTERNAL',
    `What a transaction left could not be delivered (${topic}): it is a dead letter`,
    {
      operation: 'deliver',
      details: { id, topic, key, tenant, dead: true },
      cause: error,
    },
  );
}

function background(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (milliseconds, callback) => clock.after(milliseconds, callback, { background: true }),
  };
}
