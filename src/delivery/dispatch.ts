/** Delivers what transactions left for other databases and for vector services, as long as a manager is open. */
import type { Clock } from '../clock.js';
import type { CollectionHost } from '../collection/host.js';
import type { BeginLoop } from '../component.js';
import type { StorageError } from '../errors.js';
import { Relay } from '../unit-of-work/relay.js';
import { checkRelayOptions, type RelaySettings } from '../unit-of-work/relay/options.js';
import { deliveryHandlers, isHopeless, isPassing, type DeliveryTargets } from './handlers.js';

/** Milliseconds between looks for what other processes left; a commit of this process is delivered at once. */
const POLL = 2_000;
/** Milliseconds after which another process goes on where one ended in the midst of a delivery. */
const LEASE = 10_000;

/** The server accepts no writes, which the health report tells of it. */
const READ_ONLY = '25006';

export interface DispatchHost extends DeliveryTargets {
  /** Tells what went wrong where no caller waits for it. */
  report(error: StorageError): void;
  readonly beginLoop: BeginLoop;
}

/**
 * Begins for one database, whose outbox it is, and ends with the manager. Its timers do not keep the process alive: what is
 * left then is delivered when one of these managers is open again.
 */
export function dispatch(database: CollectionHost, host: DispatchHost): Relay {
  const settings: RelaySettings = {
    ...checkRelayOptions({ handlers: deliveryHandlers(host), poll: POLL, lease: LEASE }, (error) => {
      // A replica: what the outbox holds is delivered by those who have the database that it is one of.
      if (error.details['sqlstate'] !== READ_ONLY) host.report(error);
    }),
    makesTables: false,
    isPermanent: isHopeless,
    isPassing,
  };
  return new Relay({ ...database, clock: background(database.clock) }, settings, host.beginLoop);
}

function background(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (milliseconds, callback) => clock.after(milliseconds, callback, { background: true }),
  };
}
