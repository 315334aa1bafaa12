/** The relay of the kills: a lease so short that what a dead one held goes on within a second. */
import type { StorageManager } from '../../../src/manager.js';
import type { Relay } from '../../../src/unit-of-work/relay.js';
import type { Receiver } from './receiver.js';
import { TOPIC } from './unit.js';

export function relayTo(storage: StorageManager, receiver: Receiver): Relay {
  return storage.outbox.relay({
    handlers: { [TOPIC]: ({ idempotencyKey }) => receiver.receive(idempotencyKey) },
    lease: 1_000,
    poll: 50,
    backoff: { base: 50, max: 500 },
    // A death during a delivery counts as a failure of its message, and here everybody dies.
    maxAttempts: 1_000,
  });
}
