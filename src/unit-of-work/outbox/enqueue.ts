/** Writing a message: part of the transaction that it tells of. */
import { randomUUID } from 'node:crypto';
import type { JsonValue, Write } from '../../backends/backend.js';
import { checkId, encodeValue } from '../../backends/value.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import { makeUuid } from '../../collection/ids.js';
import type { CallOptions, OperationContext } from '../../component.js';
import { invalid, StorageError, unknownKey } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { keyId, KEYS, LANES, MESSAGES, TOPIC } from './records.js';
import { wake } from './wake.js';

export interface NewMessage {
  /** `[a-z][a-z0-9_.-]{0,63}`: which handler it is for. */
  readonly topic: string;
  /** Messages of one tenant, topic and key are delivered in order. Any text, up to 255 bytes. */
  readonly key: string;
  /** JSON. */
  readonly payload: unknown;
  /** For the receiver, which gets it at every delivery; up to 255 bytes. Default: the message's id. */
  readonly idempotencyKey?: string | undefined;
}

const FIELDS = ['topic', 'key', 'payload', 'idempotencyKey'];

/** `tx.outbox` */
export class TransactionOutbox {
  constructor(
    private readonly host: CollectionHost,
    private readonly onCommit: (hook: () => void) => void,
  ) {}

  /**
   * Leaves a message that is delivered after the commit, and never when the transaction rolls back. Transactions that
   * leave messages for the same topic and key commit one after another, or run again. @throws `VALIDATION`
   */
  async enqueue(message: NewMessage, options?: CallOptions): Promise<{ readonly id: string }> {
    const { backend, tenant } = this.host;
    const { topic, key, payload, idempotencyKey } = checkMessage(message);
    // A whole value, so that what cannot be stored is refused before any I/O.
    const draft = { topic, key, payload, idempotencyKey: idempotencyKey ?? randomUUID(), lane: randomUUID(), order: 0 };
    const { value } = encodeValue(draft, MESSAGES, backend.capabilities.maxRecordBytes);
    return runOperation(this.host, [KEYS, LANES, MESSAGES], 'enqueue', options, async (context) => {
      const place = await this.takePlace(topic, key, draft.lane, context);
      const id = makeUuid(context.now);
      const insert = (
        collection: Write['collection'],
        newId: string,
        record: Readonly<Record<string, JsonValue>>,
      ): Write => ({
        collection,
        id: newId,
        kind: 'insert',
        value: record,
      });
      const writes = [insert(MESSAGES, id, { ...value, ...place, idempotencyKey: idempotencyKey ?? id })];
      if (place.order === 1) {
        const dueAt = context.now.toISOString();
        writes.push(insert(LANES, place.lane, { topic, keyId: keyId(topic, key), dueAt, token: 0, attempts: 0 }));
      }
      const results = await backend.write({ tenant }, writes, context);
      if (results.some(({ status }) => status !== 'written'))
        throw new StorageError('INTERNAL', 'The outbox has a record under an id that was made just now', {
          component: backend.name,
          operation: 'enqueue',
        });
      this.onCommit(() => wake(backend));
      return { id };
    });
  }

  /** The key's lane, and the message's number in it; 1: the lane is to be made. */
  private async takePlace(
    topic: string,
    key: string,
    newLane: string,
    context: OperationContext,
  ): Promise<{ lane: string; order: number }> {
    const { backend, tenant } = this.host;
    const write: Write = {
      collection: KEYS,
      id: keyId(topic, key),
      kind: 'patch',
      changes: { increment: { last: 1 } },
      orInsert: { last: 1, lane: newLane },
    };
    const [result] = await backend.write({ tenant }, [write], context);
    if (result?.status !== 'patched')
      throw new StorageError('INTERNAL', `The outbox answered ${result?.status ?? 'nothing'}`, {
        component: backend.name,
        operation: 'enqueue',
      });
    const { lane, last } = result.record.value;
    return { lane: lane as string, order: last as number };
  }
}

function checkMessage(message: unknown): NewMessage {
  if (!isPlainObject(message)) throw invalid('message', message, 'an object of topic, key and payload');
  for (const field of Object.keys(message)) if (!FIELDS.includes(field)) throw unknownKey(`message.${field}`, FIELDS);
  const { topic, key, payload, idempotencyKey } = message;
  if (typeof topic !== 'string' || !TOPIC.test(topic))
    throw invalid('message.topic', topic, 'a name of the form [a-z][a-z0-9_.-]{0,63}');
  const checked = { topic, key: checkId(key, 'message.key'), payload };
  if (payload === undefined) throw invalid('message.payload', payload, 'JSON');
  return idempotencyKey === undefined
    ? checked
    : { ...checked, idempotencyKey: checkId(idempotencyKey, 'message.idempotencyKey') };
}
