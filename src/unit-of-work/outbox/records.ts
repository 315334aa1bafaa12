/**
 * What the outbox keeps. A `message` waits in a `lane`: the messages of one topic and key that are not delivered, in the
 * order of their transactions' commits. A relay claims lanes, never messages, so that no message can be met before those
 * ahead of it. The record of a `key` names its lane and counts its messages: every transaction that adds one writes it,
 * so those of one key commit one after another; and the relay deletes it, together with the lane, in the version it read
 * before it looked for messages, so that a message which commits meanwhile is not lost.
 */
import { createHash } from 'node:crypto';
import type { JsonValue, RecordSchema, Stored } from '../../backends/backend.js';
import { invalid } from '../../errors.js';

const TOPIC = /^[a-z][a-z0-9_.-]{0,63}$/;

/** Topics of the library's own. */
const RESERVED = ['deliver.', 'subscription.'];

/** @throws `VALIDATION`, for a topic of the library's own too */
export function checkOwnTopic(topic: unknown, key: string): string {
  const checked = checkTopic(topic, key);
  if (RESERVED.some((prefix) => checked.startsWith(prefix)))
    throw invalid(key, topic, `a topic that begins with none of ${RESERVED.join(', ')}: those are the library's`);
  return checked;
}

/** @throws `VALIDATION` */
export function checkTopic(topic: unknown, key: string): string {
  if (typeof topic !== 'string' || !TOPIC.test(topic))
    throw invalid(key, topic, 'a topic of the form [a-z][a-z0-9_.-]{0,63}');
  return topic;
}

/** By a hash of topic and key; deleted once its lane is empty. */
export const KEYS: RecordSchema = {
  name: 'qm_outbox_keys',
  fields: new Map([['last', { type: 'number', maxBytes: 0 }]]),
  indexes: [],
  unique: [],
  text: [],
};

/** `dueAt`: from when it may be claimed; of a claimed one, the end of the lease; absent while a dead letter blocks it. */
export const LANES: RecordSchema = {
  name: 'qm_outbox_lanes',
  fields: new Map([
    ['topic', { type: 'string', maxBytes: 64 }],
    ['dueAt', { type: 'date', maxBytes: 0 }],
    ['token', { type: 'number', maxBytes: 0 }],
    ['attempts', { type: 'number', maxBytes: 0 }],
  ]),
  indexes: [index('all', 'topic', 'dueAt')],
  unique: [],
  text: [],
};

export const MESSAGES: RecordSchema = {
  name: 'qm_outbox',
  fields: new Map([
    ['topic', { type: 'string', maxBytes: 64 }],
    ['lane', { type: 'string', maxBytes: 64 }],
    ['order', { type: 'number', maxBytes: 0 }],
    ['deadAt', { type: 'date', maxBytes: 0 }],
  ]),
  indexes: [index('tenant', 'lane', 'order'), index('all', 'deadAt')],
  unique: [],
  text: [],
};

export const OUTBOX_TABLES = [KEYS, LANES, MESSAGES];

/** What was enqueued under a caller's key: by a hash of topic and key. It expires some time after the message's delivery. */
export const IDEMPOTENCY: RecordSchema = {
  name: 'qm_outbox_idempotency',
  fields: new Map(),
  indexes: [],
  unique: [],
  text: [],
};

/** A message as its handler gets it. */
export interface OutboxMessage<Payload = JsonValue> {
  readonly id: string;
  /** Whose transaction wrote it. */
  readonly tenant: string;
  readonly topic: string;
  readonly key: string;
  /** JSON, as it was enqueued. */
  readonly payload: Payload;
  /** The same at every delivery of this message: the receiver refuses what it has had. Default: the message's id. */
  readonly idempotencyKey: string;
  readonly enqueuedAt: Date;
}

/** By topic and a key of either kind. */
export function keyId(topic: string, key: string): string {
  return createHash('sha256').update(`${topic}\n${key}`).digest('hex');
}

export function readMessage({ id, tenant, createdAt, value }: Stored): OutboxMessage {
  return {
    id,
    tenant,
    topic: value['topic'] as string,
    key: value['key'] as string,
    payload: value['payload']!,
    idempotencyKey: value['idempotencyKey'] as string,
    enqueuedAt: createdAt,
  };
}

function index(scope: 'tenant' | 'all', ...fields: readonly string[]): RecordSchema['indexes'][number] {
  const keys = fields.map((field) => ({ field, direction: 'asc' as const }));
  return { name: [...fields, scope].join(', '), keys, scope };
}
