/** Writing a message: part of the transaction that it tells of. */
import { randomUUID } from 'node:crypto';
import type { JsonObject, JsonValue, RecordCapabilities, RecordSchema, Write } from '../../backends/backend.js';
import { checkId, encodeValue } from '../../backends/value.js';
import { digest } from '../../collection/digest.js';
import { groupBy } from '../../collection/group-by.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import { makeUuid } from '../../collection/ids.js';
import type { CallOptions, OperationContext } from '../../component.js';
import { checkKnown, invalid, serializationFailure, StorageError } from '../../errors.js';
import { Handle } from '../../handle.js';
import { isPlainObject } from '../../filter/json.js';
import { checkContent, findRemembered, rememberEnqueued, type Remembered } from './idempotency.js';
import { checkOwnTopic, IDEMPOTENCY, keyId, KEYS, LANES, MESSAGES, OUTBOX_TABLES } from './records.js';
import { wake } from './wake.js';

/** `Payloads`: what messages carry, by topic. */
export type NewMessage<Payloads = Record<string, unknown>> = MessageOptions &
  { readonly [T in keyof Payloads & string]: TopicPayload<T, Payloads[T]> }[keyof Payloads & string];

interface TopicPayload<Topic, Payload> {
  /** `[a-z][a-z0-9_.-]{0,63}`: which handler it is for. */
  readonly topic: Topic;
  /** JSON. */
  readonly payload: Payload;
}

interface MessageOptions {
  /** Messages of one tenant, topic and key are delivered in order. Any text, up to 255 bytes. */
  readonly key: string;
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

const FIELDS = new Set(['topic', 'key', 'payload', 'idempotencyKey']);

/** Messages of one call. */
const MOST = 1_000;

/** A message with its value as it is stored, but for its place. */
interface Draft extends Omit<NewMessage, 'payload'> {
  /** The key's record. */
  readonly name: string;
  readonly id: string;
  readonly value: JsonObject;
  readonly bytes: number;
  /** Of what was asked for under the caller's idempotency key. */
  readonly content: string | undefined;
}

/** `tx.outbox` */
export class TransactionOutbox extends Handle {
  constructor(
    private readonly host: CollectionHost,
    private readonly onCommit: (hook: () => void) => void,
  ) {
    super();
  }

  toJSON(): Record<string, unknown> {
    return { tenant: this.host.tenant };
  }

  /**
   * Leaves a message that is delivered after the commit, and never when the transaction rolls back. Transactions that
   * leave messages for the same topic and key commit one after another, or run again; so do those of one idempotency key.
   * @throws `VALIDATION`; `CONFLICT` (`details.reason` is `'idempotency'`) when other content was left under its idempotency key
   */
  async enqueue<Payloads = Record<string, unknown>>(
    message: NewMessage<Payloads>,
    options?: CallOptions,
  ): Promise<Enqueued> {
    checkOwn(message, 'message');
    const [enqueued] = await this.write([draftOf(message, 'message', this.host)], options);
    return enqueued!;
  }

  /**
   * As `enqueue`, up to 1,000 messages in their order, all of them or none: as many round trips for all as for one.
   * @throws as `enqueue`
   */
  async enqueueMany<Payloads = Record<string, unknown>>(
    messages: readonly NewMessage<Payloads>[],
    options?: CallOptions,
  ): Promise<Enqueued[]> {
    if (!Array.isArray(messages) || messages.length > MOST)
      throw invalid('messages', messages, `an array of at most ${MOST} messages`);
    messages.forEach((message, i) => checkOwn(message, `messages[${i}]`));
    return this.leave(messages, (i) => `messages[${i}]`, options);
  }

  /** The library's own messages, whose topics no host can use. @param at what errors call each @throws as `enqueue` */
  async leave(
    messages: readonly NewMessage[],
    at: (place: number) => string,
    options?: CallOptions,
  ): Promise<Enqueued[]> {
    return this.write(
      messages.map((message, i) => draftOf(message, at(i), this.host)),
      options,
    );
  }

  private async write(drafts: readonly Draft[], options: CallOptions | undefined): Promise<Enqueued[]> {
    if (drafts.length === 0) return [];
    const { backend } = this.host;
    const keyed = drafts.some(({ content }) => content !== undefined);
    return runOperation(
      this.host,
      keyed ? [...OUTBOX_TABLES, IDEMPOTENCY] : OUTBOX_TABLES,
      'enqueue',
      options,
      async (context) => {
        const known = keyed ? await this.findKnown(drafts, context) : new Map<string, Remembered>();
        const fresh: Draft[] = [];
        const enqueued = drafts.map((draft): Enqueued => {
          const { id, topic, idempotencyKey, content } = draft;
          if (content !== undefined) {
            const name = keyId(topic, idempotencyKey!);
            const before = known.get(name);
            if (before !== undefined) {
              checkContent(before, content, topic);
              return { id: before.message, duplicate: true };
            }
            known.set(name, { message: id, content });
          }
          fresh.push(draft);
          return { id, duplicate: false };
        });
        for (const portion of portions(inKeyOrder(fresh), backend.capabilities)) await this.insert(portion, context);
        if (fresh.length > 0) this.onCommit(() => wake(backend));
        return enqueued;
      },
    );
  }

  private async findKnown(drafts: readonly Draft[], context: OperationContext): Promise<Map<string, Remembered>> {
    const { backend, tenant } = this.host;
    const names = drafts
      .filter(({ content }) => content !== undefined)
      .map(({ topic, idempotencyKey }) => keyId(topic, idempotencyKey!));
    return findRemembered(backend, tenant, [...new Set(names)], context);
  }

  private async insert(drafts: readonly Draft[], context: OperationContext): Promise<void> {
    const { backend, tenant } = this.host;
    const writes: Write[] = [];
    const lanes: Write[] = [];
    const keys: Write[] = [];
    for (const [{ name, lane, first }, group] of await this.takePlaces(drafts, context)) {
      group.forEach(({ id, value, topic, idempotencyKey, content }, i) => {
        const own = { ...value, lane, order: first + i, idempotencyKey: idempotencyKey ?? id };
        writes.push(insertion(MESSAGES, id, content === undefined ? own : { ...own, once: content }));
        if (content !== undefined) keys.push(rememberEnqueued(topic, idempotencyKey!, { message: id, content }));
      });
      const dueAt = context.now.toISOString();
      const { topic } = group[0]!;
      if (first === 1) lanes.push(insertion(LANES, lane, { topic, keyId: name, dueAt, token: 0, attempts: 0 }));
    }
    const results = await backend.write({ tenant }, [...keys, ...writes, ...lanes], context);
    // Another transaction was faster with an idempotency key: the next run of this one sees it.
    if (results.slice(0, keys.length).some(({ status }) => status === 'exists'))
      throw serializationFailure(backend.name);
    if (results.some(({ status }) => status !== 'written'))
      throw new StorageError('INTERNAL', 'The outbox has a record under an id that was made just now', {
        component: backend.name,
        operation: 'enqueue',
      });
  }

  /** The lane of each key, and the number in it of the first of its messages; 1: the lane is to be made. */
  private async takePlaces(
    drafts: readonly Draft[],
    context: OperationContext,
  ): Promise<[{ readonly name: string; readonly lane: string; readonly first: number }, readonly Draft[]][]> {
    const { backend, tenant } = this.host;
    const groups = [...groupBy(drafts, ({ name }) => name)];
    const writes = groups.map(([name, { length }]): Write => ({
      collection: KEYS,
      id: name,
      kind: 'patch',
      changes: { increment: { last: length } },
      orInsert: { last: length, lane: randomUUID() },
    }));
    const results = await backend.write({ tenant }, writes, context);
    return results.map((result, i) => {
      if (result.status !== 'patched')
        throw new StorageError('INTERNAL', `The outbox answered ${result.status}`, {
          component: backend.name,
          operation: 'enqueue',
        });
      const [name, group] = groups[i]!;
      const { lane, last } = result.record.value;
      return [{ name, lane: lane as string, first: (last as number) - group.length + 1 }, group];
    });
  }
}

/** A whole value, so that what cannot be stored is refused before any I/O. @param at what errors call it @throws `VALIDATION` */
function draftOf({ topic, key, payload, idempotencyKey }: NewMessage, at: string, host: CollectionHost): Draft {
  const { backend, clock } = host;
  const whole = { topic, key, payload, idempotencyKey: idempotencyKey ?? randomUUID(), lane: randomUUID(), order: 0 };
  const { value, bound } = encodeValue(whole, MESSAGES, backend.capabilities.maxRecordBytes, at);
  const content = idempotencyKey === undefined ? undefined : digest([key, value['payload']]);
  const name = keyId(topic, key);
  return { topic, key, idempotencyKey, name, id: makeUuid(clock.now()), value, bytes: bound, content };
}

/**
 * In one order in all transactions: two that take the same keys wait for each other, and do not deadlock. Those of a key stay in
 * theirs.
 */
function inKeyOrder(drafts: readonly Draft[]): readonly Draft[] {
  return [...drafts].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** What one batch takes: each message may bring its key and its lane. */
function* portions(drafts: readonly Draft[], limits: RecordCapabilities): Generator<Draft[]> {
  const most = Math.floor(limits.maxBatchItems / 3);
  let portion: Draft[] = [];
  let bytes = 0;
  for (const draft of drafts) {
    if (portion.length === most || (portion.length > 0 && bytes + draft.bytes > limits.maxBatchBytes / 2)) {
      yield portion;
      portion = [];
      bytes = 0;
    }
    portion.push(draft);
    bytes += draft.bytes;
  }
  if (portion.length > 0) yield portion;
}

function insertion(collection: RecordSchema, id: string, value: Readonly<Record<string, JsonValue>>): Write {
  return { collection, id, kind: 'insert', isNew: true, value };
}

/** @throws `VALIDATION` */
function checkOwn(message: unknown, at: string): asserts message is NewMessage {
  if (!isPlainObject(message)) throw invalid(at, message, 'an object of topic, key and payload');
  checkKnown(message, FIELDS, at);
  const { topic, key, payload, idempotencyKey } = message;
  checkOwnTopic(topic, `${at}.topic`);
  checkId(key, `${at}.key`);
  if (payload === undefined) throw invalid(`${at}.payload`, payload, 'JSON');
  if (idempotencyKey !== undefined) checkId(idempotencyKey, `${at}.idempotencyKey`);
}
