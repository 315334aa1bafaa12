/** Whom a relay tells of its failures where its host named nobody: the manager, whose listener or the process's warnings have them. */
import { foreignErrorName, StorageError } from '../../errors.js';
import { OngoingFault, type Report } from '../ongoing-fault.js';
import type { OutboxMessage } from '../outbox/records.js';

export interface DeliveryFailure {
  readonly message: OutboxMessage;
  readonly error: unknown;
  readonly attempt: number;
  /** It is a dead letter now, and the later messages of its key wait for a decision. */
  readonly dead: boolean;
}

/** A failure that is tried again is no news; nor is a fault of the relay's own that goes on, until a look succeeds. */
export function toldTo(report: Report): {
  readonly onFailure: (failure: DeliveryFailure) => void;
  readonly onError: (error: unknown) => void;
  readonly onWell: () => void;
} {
  const ongoing = new OngoingFault(report, 'deliver', 'The delivery of what transactions left');
  return {
    onFailure: (failure) => {
      if (failure.dead) report(deadLetter(failure));
    },
    onError: (error) => ongoing.tell(error),
    onWell: () => ongoing.end(),
  };
}

function deadLetter({ message, error }: DeliveryFailure): StorageError {
  const { id, topic, key, tenant } = message;
  const reason = foreignErrorName(error);
  return new StorageError(
    'INTERNAL',
    `A message could not be delivered (${topic}, ${id}): it is a dead letter (${reason}), of which storage.outbox.list() tells more`,
    {
      operation: 'deliver',
      details: { id, topic, key, tenant, dead: true, reason },
      cause: error,
    },
  );
}

/** A fault of the host's reporting, now or later, must not change what it is told of. */
export function tellHost<A>(callback: (told: A) => unknown, told: A): void {
  void (async () => callback(told))().catch(() => undefined);
}
