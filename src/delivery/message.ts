/** The messages that deliveries are, and where they may go. */
import type { JsonValue, RecordBackend } from '../backends/backend.js';
import type { StoreName } from '../adapters/settings.js';
import { UnsupportedError } from '../errors.js';
import type { NewMessage } from '../unit-of-work/outbox/enqueue.js';

/** What a transaction has left to be delivered: a message of its outbox. */
export interface Delivery {
  /**
   * The message's: `storage.outbox` knows it by this while it waits, and when it could not be delivered. Absent where nothing
   * waits, since it was done with the transaction.
   */
  readonly id?: string;
}

/** Of what lives in the transaction's own database. */
export const DONE: Delivery = Object.freeze({});

export interface Leave {
  messages(messages: readonly (NewMessage & { readonly payload: JsonValue })[]): Promise<readonly Delivery[]>;
  /** Counts a call from its very beginning as one that the transaction's function has to await. */
  during<R>(call: () => Promise<R>): Promise<R>;
}

export type DeliveryTopic = StoreName | 'records' | 'vectors';

export function topicOf(what: DeliveryTopic): string {
  return `deliver.${what}`;
}

/** @throws `UNSUPPORTED` where a write and the mark of its delivery cannot be one */
export function requireAtomic({ name, capabilities }: RecordBackend, what: string): void {
  if (capabilities.batch !== 'atomic')
    throw new UnsupportedError(`${what}: ${name} has no atomic batches, so that a delivery could be made twice`, {
      operation: 'deliver',
    });
}
