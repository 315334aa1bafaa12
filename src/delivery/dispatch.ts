/** Delivers what transactions left for other databases and for vector services, as long as a manager is open. */
import type { Clock } from '../clock.js';
import type { CollectionHost } from '../collection/host.js';
import { foreignErrorName, isStorageError, StorageError } from '../errors.js';
import { Relay } from '../unit-of-work/relay.js';
import { checkRelayOptions, type DeliveryFailure, type RelaySettings } from '../unit-of-work/relay/options.js';
import { deliveryHandlers, isHopeless, isPassing, type DeliveryTargets } from './handlers.js';

/** Milliseconds between looks for what other processes left; a commit of this process is delivered at once. */
const POLL = 2_000;
/** Milliseconds after which another process goes on where one ended, or was closed, in the midst of a delivery. */
const LEASE = 10_000;

export interface DispatchHost extends DeliveryTargets {
  /** Tells what went wrong where no caller waits for it. */
  report(error: StorageError): void;
  onClosing(listener: () => void): () => void;
}

/**
 * Begins for one database, whose outbox it is, and ends with the manager. Its timers do not keep the process alive: what is
 * left then is delivered when one of these managers is open again.
 */
export function dispatch(database: CollectionHost, host: DispatchHost): Relay {
  let last: string | undefined;
  const settings: RelaySettings = {
    ...checkRelayOptions({
      handlers: deliveryHandlers(host),
      poll: POLL,
      lease: LEASE,
      onFailure: (failure: DeliveryFailure) => {
        if (failure.dead) host.report(undeliverable(failure));
      },
      onError: (error: unknown) => {
        const fault = isStorageError(error) ? error.code : foreignErrorName(error);
        // The relay tries again and again: it is told when another fault begins.
        if (fault !== last) host.report(isStorageError(error) ? error : relayFault(error));
        last = fault;
      },
    }),
    isPermanent: isHopeless,
    isPassing,
  };
  const onClosing = (listener: () => void): (() => void) => host.onClosing(listener);
  return new Relay({ ...database, clock: background(database.clock) }, settings, onClosing);
}

function relayFault(cause: unknown): StorageError {
  const message = `The delivery of what transactions left failed (${foreignErrorName(cause)})`;
  return new StorageError('INTERNAL', message, { operation: 'deliver', cause });
}

function undeliverable({ message, error }: DeliveryFailure): StorageError {
  const { id, topic, key, tenant } = message;
  return new StorageError(
    'INTERNAL',
    `What a transaction left could not be delivered (${topic}): it is a dead letter`,
    {
      operation: 'deliver',
      details: { id, topic, key, tenant, dead: true, reason: isStorageError(error) ? error.code : 'INTERNAL' },
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
