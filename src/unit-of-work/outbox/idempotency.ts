/** Idempotency keys of callers: what was left under one, from its transaction until some time after its delivery. */
import type { RecordBackend, Stored, Write } from '../../backends/backend.js';
import type { OperationContext } from '../../component.js';
import { ConflictError } from '../../errors.js';
import { IDEMPOTENCY, keyId, MESSAGES } from './records.js';

/** Milliseconds after its delivery for which a message is known by its key. */
const KEPT_FOR = 24 * 3_600_000;

export interface Remembered {
  /** The message's id. */
  readonly message: string;
  /** A digest of the message's key and payload. */
  readonly content: string;
}

/** By their names, those of `names` under which a message was left. @param names as `keyId` makes them */
export async function findRemembered(
  backend: RecordBackend,
  tenant: string,
  names: readonly string[],
  context: OperationContext,
): Promise<Map<string, Remembered>> {
  const keys = names.map((id) => ({ collection: IDEMPOTENCY, id }));
  const found = await backend.read({ tenant }, keys, context);
  return new Map(
    found.flatMap((stored) => (stored === undefined ? [] : [[stored.id, stored.value as unknown as Remembered]])),
  );
}

/** @throws `CONFLICT` when the key was used for other content. */
export function checkContent({ content: before }: Remembered, content: string, topic: string): void {
  if (before === content) return;
  throw new ConflictError('CONFLICT', 'enqueue: the idempotency key was used with another key or payload', {
    operation: 'enqueue',
    details: { reason: 'idempotency', topic },
  });
}

/** For as long as the message waits, which may be any time. */
export function rememberEnqueued(topic: string, key: string, { message, content }: Remembered): Write {
  return { collection: IDEMPOTENCY, id: keyId(topic, key), kind: 'insert', value: { message, content } };
}

/** Deletes a message that was delivered; its key is known for a while yet. */
export function acknowledgement(message: Stored, { now }: OperationContext): Write[] {
  return deletion(message, new Date(now.getTime() + KEPT_FOR));
}

/** Deletes a message that is given up: its key may be used anew, also by a process whose clock is behind this one's. */
export function removal(message: Stored): Write[] {
  return deletion(message, new Date(0), message.version);
}

function deletion({ id, value }: Stored, knownUntil: Date, ifVersion?: number): Write[] {
  const base = { collection: MESSAGES, id, kind: 'delete', returns: false } as const;
  const gone: Write = ifVersion === undefined ? base : { ...base, ifVersion };
  const { topic, idempotencyKey, once } = value;
  if (once === undefined) return [gone];
  const remembered = { message: id, content: once };
  const key = keyId(topic as string, idempotencyKey as string);
  return [gone, { collection: IDEMPOTENCY, id: key, kind: 'put', value: remembered, expiresAt: knownUntil }];
}
