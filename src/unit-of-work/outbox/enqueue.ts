/** Writing a message: part of the transaction that it tells of. */
import { randomUUID } from 'node:crypto';
import type { JsonValue, RecordSchema, Write } from '../../backends/backend.js';
import { checkId, encodeValue } from '../../backends/value.js';
import { digest } from '../../collection/digest.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import { makeUuid } from '../../collection/ids.js';
import type { CallOptions, OperationContext } from '../../component.js';
import { invalid, serializationFailure, StorageError, unknownKey } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { findEnqueued, rememberEnqueued } from './idempotency.js';
import { checkOwnTopic, checkTopic, IDEMPOTENCY, keyId, KEYS, LANES, MESSAGES, OUTBOX_TABLES } from './records.js';
import { wake } from './wake.js';

export interface NewMessage {
  /** `[a-z][a-z0-9_.-]{0,63}`: which handler it is for. */
  readonly topic: string;
  /** Messages of one tenant, topic and key are delivered in order. Any text, up to 255 bytes. */
  readonly key: string;
  /** JSON. */
  readonly payload: unknown;
  /**
   * The caller's name of what it asks for, up to 255 bytes: a second message of the tenant and topic with it is not left while
   * the first one waits, or was delivered within 24 hours. The receiver gets it at every delivery. Default: the message's id,
   * for the receiver alone.
   */
  readonly idempotencyKey?: string | undefined;
}

export interface Enqueued {
  readonly id: string;
  /** Whether it is the id of a message that was left before, under the same idempotency key. */
  readonly duplicate: boolean;
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
   * leave messages for the same topic and key commit one after another, or run again; so do those of one idempotency key.
   * @throws `VALIDATION`; `CONFLICT` (`details.reason` is `'idempotency'`) when other content was left under its idempotency key
   */
  async enqueue(message: NewMessage, options?: CallOptions): Promise<Enqueued> {
    const checked = checkMessage(message);
    checkOwnTopic(checked.topic, 'message.topic');
    return this.leave(checked, options);
  }

  /** The library's own messages, whose topics no host can use. @throws as `enqueue` */
  async leave(message: NewMessage, options?: CallOptions): Promise<Enqueued> {
    const { backend, tenant } = this.host;
    const { topic, key, payload, idempotencyKey } = checkMessage(message);
    // A whole value, so that what cannot be stored is refused before any I/O.
    const draft = { topic, key, payload, idempotencyKey: idempotencyKey ?? randomUUID(), lane: randomUUID(), order: 0 };
    const { value } = encodeValue(draft, MESSAGES, backend.capabilities.maxRecordBytes);
    const once = idempotencyKey === undefined ? undefined : digest([key, value['payload']]);
    const tables = once === undefined ? OUTBOX_TABLES : [...OUTBOX_TABLES, IDEMPOTENCY];
    return runOperation(this.host, tables, 'enqueue', options, async (context) => {
      const known =
        once === undefined ? undefined : await findEnqueued(backend, tenant, topic, idempotencyKey!, once, context);
      if (known !== undefined) return { id: known, duplicate: true };
      const place = await this.takePlace(topic, key, draft.lane, context);
      const id = makeUuid(context.now);
      const own = { ...value, ...place, idempotencyKey: idempotencyKey ?? id };
      const writes = [insert(MESSAGES, id, once === undefined ? own : { ...own, once })];
      if (once !== undefined) writes.push(rememberEnqueued(topic, idempotencyKey!, { message: id, content: once }));
      if (place.order === 1) {
        const dueAt = context.now.toISOString();
        writes.push(insert(LANES, place.lane, { topic, keyId: keyId(topic, key), dueAt, token: 0, attempts: 0 }));
      }
      const results = await backend.write({ tenant }, writes, context);
      // Another transaction was faster with the idempotency key: the next run of this one sees it.
      if (once !== undefined && results[1]!.status === 'exists') throw serializationFailure(backend.name);
      if (results.some(({ status }) => status !== 'written'))
        throw new StorageError('INTERNAL', 'The outbox has a record under an id that was made just now', {
          component: backend.name,
          operation: 'enqueue',
        });
      this.onCommit(() => wake(backend));
      return { id, duplicate: false };
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

function insert(collection: RecordSchema, id: string, value: Readonly<Record<string, JsonValue>>): Write {
  return { collection, id, kind: 'insert', value };
}

function checkMessage(message: unknown): NewMessage {
  if (!isPlainObject(message)) throw invalid('message', message, 'an object of topic, key and payload');
  for (const field of Object.keys(message)) if (!FIELDS.includes(field)) throw unknownKey(`message.${field}`, FIELDS);
  const { topic, key, payload, idempotencyKey } = message;
  const checked = { topic: checkTopic(topic, 'message.topic'), key: checkId(key, 'message.key'), payload };
  if (payload === undefined) throw invalid('message.payload', payload, 'JSON');
  return idempotencyKey === undefined
    ? checked
    : { ...checked, idempotencyKey: checkId(idempotencyKey, 'message.idempotencyKey') };
}
